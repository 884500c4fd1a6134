"""The documents as tests read them: their blocks of code, and the commands in these."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
DOCUMENTS = ("README.md", "SECURITY.md", *(f"docs/{path.name}" for path in sorted((ROOT / "docs").glob("*.md"))))
STARTS = (
    "README.md",
    "docs/compose.md",
    "docs/aws.md",
    "docs/aws.ko.md",
    "docs/console.md",
    "docs/moving.md",
    "docs/permissions.md",
    "docs/testing.md",
    "docs/upgrade.md",
)
"""Those whose commands ``tests/integration/test_docs.py`` runs in turn, as somebody who reads them does."""

ELSEWHERE = {
    r"make (demo|test|down)": ".ci/run begins and ends with them",
    r"(BENCH=short )?make [a-z-]+( .*)?": "they are this Makefile's targets, which a test here sees; .ci/run and the workflows run them",
    r"\.venv/bin/python -m bench .*": "tests/integration/test_bench.py",
    r"podman .*": "tests/integration/test_podman.py: test_the_commands_of_the_page",
    r"mkdir -p ~/\.config/containers/systemd|cp deploy/podman/\* .*": "tests/integration/test_podman.py, without systemd",
    r"systemctl --user .*|loginctl enable-linger": "there is no systemd where the suite runs, and docs/podman.md says so",
    r"source <\(_POSTROAD_COMPLETE=bash_source postroad\)": "tests/integration/test_alone.py",
    r"git pull": "a test's clone has no remote",
    r"aws .*": "they change what AWS has; tests/integration/test_dns.py holds the batch against Route 53's schema",
    r"cosign .*": "from the first release on; the release workflow verifies so itself",
    r"docker compose run --rm postroad check": "tests/integration/test_check.py: the same command without Compose",
    r"openssl rand -hex 24 >deploy/store_password.*": "tests/unit/test_docs.py: test_the_password_of_scale_md",
    r"openssl rand -hex 32 >config/peers_secret.*": "tests/unit/test_docs.py: test_the_secret_of_scale_md",
    r"docker compose -f deploy/compose\.two\.yaml .*": "tests/integration/test_compose_two.py, in the pretend internet",
    r"openssl .* ?>?deploy/swarm/.*": "tests/scale: the secrets of its stack are made so",
    r"docker (node update|stack deploy|service logs|exec \$\(docker ps) .*": "tests/scale, in a Swarm of several engines",
    r"curl .* https://mail\.example\.com:8080/v1/.*": "tests/integration/test_api.py: the same requests",
    r"docker compose -f compose\.yaml -f deploy/compose\.dane\.yaml up -d": "tests/integration/test_deploy.py",
}
"""Commands that are not run there, by a pattern of the whole, and why."""

HELD = dict.fromkeys(
    ("docs/clients.md", "docs/apps.md"),
    "tests/unit/test_clients_docs.py: the snippets are the scripts' of tests/clients",
) | {
    "docs/kubernetes.md": "tests/chart/test_chart.py: its values are rendered, its commands are Helm's and kubectl's",
    "docs/vendors.md": "tests/unit/test_vendors_docs.py: its snippets send, with the vendors' own SDKs",
    "docs/api.md": "tests/unit/test_web_docs.py: its requests are made, and its answers are the API's",
}
"""Documents whose blocks another test holds against what is run."""

INSIDE = "docker compose exec postroad "
"""What begins a command that is run there whatever document it is in, beside the server of the README."""


@dataclass(frozen=True)
class Block:
    """A block of code: fenced, with its language. tests/unit/test_docs_output.py sees that there are no others."""

    document: str
    language: str
    text: str


def blocks(document: str) -> list[Block]:
    """A document's blocks, in order."""
    pattern = re.compile(r"^```(\w+)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
    return [Block(document, match[1], match[2]) for match in pattern.finditer((ROOT / document).read_text())]


def commands(document: str, *, language: str | None = None) -> list[str]:
    """The commands in a document's blocks, one a line or with backslashes on more, without the comments after them."""
    return [command for block in blocks(document) if language in {None, block.language} for command in _of(block)]


def _of(block: Block) -> Iterator[str]:
    if block.language != "sh":
        return
    for line in block.text.replace("\\\n", " ").splitlines():
        words = re.sub(r"\s+#\s.*", "", line).split()
        if words:
            yield " ".join(words)


def elsewhere(command: str) -> bool:
    """Whether this command is not run by ``tests/integration/test_docs.py``, for a reason."""
    return any(re.fullmatch(pattern, command) for pattern in ELSEWHERE)
