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
    "docs/moving.md",
    "docs/permissions.md",
    "docs/testing.md",
    "docs/upgrade.md",
)
"""Those whose commands ``tests/integration/test_docs.py`` runs in turn, as somebody who reads them does."""

ELSEWHERE = {
    r"make (demo|test|down)": ".ci/run begins and ends with them",
    r"make [a-z-]+( .*)?": "they are this Makefile's targets, which a test here sees; .ci/run and the workflows run them",
    r"git pull": "a test's clone has no remote",
    r"aws .*": "they change what AWS has; tests/integration/test_dns.py holds the batch against Route 53's schema",
    r"cosign .*": "from the first release on; the release workflow verifies so itself",
    r"docker compose run --rm postroad check": "tests/integration/test_check.py: the same command without Compose",
    r"docker compose -f deploy/compose\.two\.yaml .*": "tests/integration/test_compose_two.py, in the pretend internet",
    r"docker compose -f compose\.yaml -f deploy/compose\.dane\.yaml up -d": "tests/integration/test_deploy.py",
}
"""Commands that are not run there, by a pattern of the whole, and why."""

HELD = dict.fromkeys(
    ("docs/clients.md", "docs/apps.md"),
    "tests/unit/test_clients_docs.py: the snippets are the scripts' of tests/clients",
) | {"docs/kubernetes.md": "tests/chart/test_chart.py: its values are rendered, its commands are Helm's and kubectl's"}
"""Documents whose blocks another test holds against what is run."""

INSIDE = "docker compose exec postroad "
"""What begins a command that is run there whatever document it is in, beside the server of the README."""
PROGRAMS = frozenset({"aws", "cosign", "docker", "git", "make", "pip", "postroad", "printf", "sudo"})
"""What the lines of a block begin with that is indented: such a block may be a command or what one prints."""


@dataclass(frozen=True)
class Block:
    """A block of code: fenced, with its language, or indented by four spaces, with none."""

    document: str
    language: str
    text: str


def blocks(document: str) -> list[Block]:
    """A document's blocks, in order."""
    text = (ROOT / document).read_text()
    pattern = r"^```(\w+)\n(.*?)^```$|(?<=\n\n)(?:    [^\n]*\n|\n(?=    ))+"
    found = []
    for match in re.finditer(pattern, text, re.DOTALL | re.MULTILINE):
        language = match[1] or ""
        body = match[2] if language else re.sub(r"^    ", "", match[0], flags=re.MULTILINE)
        found.append(Block(document, language, body))
    return found


def commands(document: str, *, language: str | None = None) -> list[str]:
    """The commands in a document's blocks, one a line or with backslashes on more, without the comments after them."""
    return [command for block in blocks(document) if language in {None, block.language} for command in _of(block)]


def _of(block: Block) -> Iterator[str]:
    if block.language not in {"sh", ""}:
        return
    for line in block.text.replace("\\\n", " ").splitlines():
        words = re.sub(r"\s+#\s.*", "", line.removeprefix("$ ")).split()
        if words and (block.language == "sh" or words[0] in PROGRAMS):
            yield " ".join(words)


def elsewhere(command: str) -> bool:
    """Whether this command is not run by ``tests/integration/test_docs.py``, for a reason."""
    return any(re.fullmatch(pattern, command) for pattern in ELSEWHERE)
