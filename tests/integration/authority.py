"""A certificate authority for tests, made with the image's own openssl."""

import subprocess
from pathlib import Path

ISSUE = """
cd /pki
req() { openssl req -quiet -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes "$@"; }
if [ ! -e ca.pem ]; then
    # what RFC 5280 asks of an authority's certificate, and Python from 3.13 on insists on
    req -x509 -keyout ca.key -out ca.pem -days 30 -subj "/CN=Test root" -addext keyUsage=critical,keyCertSign
    req -keyout mid.key -out mid.csr -subj "/CN=Test intermediate"
    printf '%s\\n' basicConstraints=critical,CA:TRUE keyUsage=critical,keyCertSign authorityKeyIdentifier=keyid > mid.ext
    openssl x509 -req -in mid.csr -CA ca.pem -CAkey ca.key -days 30 -extfile mid.ext -out mid.pem 2>/dev/null
fi
printf '%s\\n' "subjectAltName=DNS:$2" authorityKeyIdentifier=keyid > "$1.ext"
req -keyout "$1.key" -out "$1.csr" -subj "/CN=$2"
day() { date -u -d "@$(($(date +%s) + $1 * 86400))" +%Y%m%d%H%M%SZ; }
openssl x509 -req -in "$1.csr" -CA mid.pem -CAkey mid.key -extfile "$1.ext" -not_before "$(day "$3")" -not_after "$(day "$4")" \
    -out "$1.leaf" 2>/dev/null
cat "$1.leaf" mid.pem > "$1.pem"
chmod 0444 ./*
"""


class Authority:
    """Issues certificates into a folder: NAME.pem, with the intermediate's after it, and NAME.key; the root is ca.pem."""

    def __init__(self, image: str, folder: Path) -> None:
        self.image = image
        self.folder = folder
        folder.chmod(0o755)

    def issue(self, name: str, host: str = "mail.sender.example", *, begin: int = -1, end: int = 60) -> None:
        """Make a pair; ``begin`` and ``end`` of its validity are days from now."""
        self.run("-s", name, host, str(begin), str(end), script=ISSUE)

    def run(self, *arguments: str, script: str = "") -> None:
        """Run the image's shell in the folder, ``/pki``, with files to which it has every right."""
        subprocess.run(
            ["docker", "run", "--rm", "-i", "--network=none", "--user=0", f"--volume={self.folder}:/pki", "--workdir=/pki",
             "--entrypoint=sh", self.image, *arguments],
            input=script, text=True, check=True, timeout=60,
        )  # fmt: skip

    def path(self, name: str) -> Path:
        return self.folder / name
