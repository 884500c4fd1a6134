"""docs/trouble.md against the code: every answer of ours stands there, and none that is not ours; the exit codes, too."""

import ast
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

import click
import pytest

from postroad.config.model import Config
from postroad.errors import ConfigError, PostroadError
from postroad.runtime import refusals
from postroad.sendmail import listeners
from tests.documents import ROOT
from tests.unit.test_cli_help import LEAVES

PAGE = (ROOT / "docs/trouble.md").read_text()
ANSWERS = PAGE[PAGE.index("\n## Answers\n") : PAGE.index("\n## Exit codes\n")]
SHOWN = re.findall(r"^\| `(\d\d\d [^`]+)`", ANSWERS, re.MULTILINE)
SENDMAIL = (
    "552 Message size exceeds fixed maximum message size (N)",
    "552 Message exceeds maximum fixed size (N)",
    "452 Too many recipients",
    "553 Invalid route address",
    "550 Bare linefeed (LF) not allowed",
    "550 Bare carriage return (CR) not allowed",
    "530 Authentication required",
    "535 authentication failed",
    "451 Please try again later",
)
"""sendmail's own, which say nothing of Postroad. In tests/integration, test_answers.py, test_attacks.py and test_doors.py get them; the last is in tests/logs."""
FILLED = "\0"
REFUSALS = {"_RefusedError": 0, "FieldError": 0, "Refusal": 2, "complaint": 0}


def in_templates() -> Iterator[str]:
    """The texts of sendmail's rules: what is filled in as one sign."""
    text = "\n".join(path.read_text() for path in sorted((ROOT / "templates").rglob("*.j2")))
    text = re.sub(r"\{\{ refusals\.(\w+) \| raw \}\}", lambda match: f'" "{getattr(refusals, match[1])}" "', text)
    for line in re.findall(r'(?:#error \$@ \S+ \$: |confRELAY_MSG\', `)("\d\d\d .*)', text):
        yield "".join(pieces(re.sub(r"\{\{.*?\}\}", FILLED, line)))


def pieces(line: str) -> Iterator[str]:
    """Quoted text as it is, anything else as one sign."""
    for quoted, other in re.findall(r'"([^"]*)"|([^"]+)', line):
        yield quoted or (FILLED if re.search(rf"\$|{FILLED}", other) else "")


def in_signer() -> Iterator[str]:
    """The texts of the signer: those of all that refuse."""
    for path in sorted((ROOT / "postroad/signer").glob("*.py")):
        tree = ast.parse(path.read_text())
        constants = {
            target.id: node.value.value
            for node in tree.body
            if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant)
            for target in node.targets
            if isinstance(target, ast.Name)
        }
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in REFUSALS:
                arguments = node.args[REFUSALS[node.func.id] :]
                found = literal(arguments[0], constants) if arguments else None
                if found:
                    yield found
            if isinstance(node, ast.FunctionDef) and node.name == "_complaint":
                for each in ast.walk(node):
                    if isinstance(each, ast.Return) and each.value is not None:
                        yield literal(each.value, constants) or ""


def literal(node: ast.expr, constants: Mapping[str, object]) -> str | None:
    """A text as it stands in the code; None for one that is made elsewhere."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.Name):
        return str(constants[node.id]) if node.id in constants else None
    if isinstance(node, ast.JoinedStr):
        parts = [literal(each, constants) if isinstance(each, ast.Constant) else FILLED for each in node.values]
        text = "".join(part or "" for part in parts)
        return None if set(text) <= {FILLED, ":", " "} else text
    if isinstance(node, ast.BinOp):
        left = literal(node.left, constants)
        right = node.right.body if isinstance(node.right, ast.IfExp) else node.right
        return f"{left}{literal(right, constants)}"
    return None


def in_front() -> Iterator[str]:
    """The texts of the front."""
    for path in sorted((ROOT / "postroad/front").glob("*.py")):
        tree = ast.parse(path.read_text())
        parts = {part for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for part in node.values}
        for node in ast.walk(tree):
            if node in parts:
                continue
            if isinstance(node, ast.JoinedStr):
                text = literal(node, {})
            elif isinstance(node, ast.Constant) and isinstance(node.value, bytes | str):
                text = node.value.decode("latin-1") if isinstance(node.value, bytes) else node.value
            else:
                continue
            if text and re.match(r"[45]\d\d [45]\.\d+\.\d+ ", text):
                yield re.sub(r"%b", FILLED, text.strip())


def config(**more: object) -> Config:
    return Config.model_validate({"hostname": "mail.example.com", "domains": ["example.com"], **more})


def in_preload() -> Iterator[str]:
    """What is answered to AUTH in clear text."""
    yield listeners.no_auth(config())
    user = {"name": "app", "password_file": "/run/secrets/app"}
    yield listeners.no_auth(config(clients={"users": [user]})).partition(", on ")[0]


TEXTS = sorted({*in_templates(), *in_signer(), *in_front(), *in_preload()})


def fits(text: str, shown: str) -> bool:
    """Whether an answer on the page is this text of the code: what is filled in is in capitals there."""
    bare = re.sub(r"^(\d\d\d) \d\.\d+\.\d+ ", r"\1 ", text)
    coded = bool(re.match(r"\d\d\d ", bare))
    pattern = r"\S.*?".join(re.escape(part) for part in re.split(rf"{FILLED}+", bare))
    start = "" if coded else r"\d\d\d (?:\w+: )?"
    return re.fullmatch(start + pattern, shown) is not None


def test_the_texts_are_found() -> None:
    assert len(list(in_templates())) > 25
    assert len(list(in_signer())) > 25
    assert len(list(in_front())) >= 4
    assert len(SHOWN) > 55


@pytest.mark.parametrize("text", TEXTS, ids=[text.replace(FILLED, "...")[:60] for text in TEXTS])
def test_every_answer_is_on_the_page(text: str) -> None:
    assert any(fits(text, shown) for shown in SHOWN), f"docs/trouble.md does not have: {text.replace(FILLED, '…')}"


@pytest.mark.parametrize("shown", SHOWN)
def test_every_answer_on_the_page_is_one_of_ours(shown: str) -> None:
    assert shown in SENDMAIL or any(fits(text, shown) for text in TEXTS)


# --- exit codes ------------------------------------------------------------------------------------

ROWS = {
    int(code): where
    for code, where in re.findall(
        r"^\| (\d+) \| [^|]+ \| ([^|]+) \|$", PAGE[PAGE.index("## Exit codes") :], re.MULTILINE
    )
}


def codes(command: click.Command) -> set[int]:
    """The exit codes that a command's help names, but 0."""
    text = " ".join((command.help or "").split()) + " ".join(
        each.help or "" for each in command.params if isinstance(each, click.Option)
    )
    found: set[int] = set()
    for sentence in re.findall(r"[Ee]xit codes? (.*?)(?=$|[Ee]xit code)", text):
        found |= {int(code) for code in re.findall(r"(?:^|[.:,] |is |or )(\d)\b", sentence)}
    return found - {0}


@pytest.mark.parametrize(("words", "command"), LEAVES, ids=[" ".join(words) for words, _ in LEAVES])
def test_codes_that_a_command_s_help_names_are_in_the_table(words: tuple[str, ...], command: click.Command) -> None:
    for code in codes(command) - {2}:
        assert " ".join(words) in ROWS[code], f"{' '.join(words)}: {code}"


def test_the_table_has_the_codes_of_the_errors() -> None:
    assert set(ROWS) == {0, 1, 2, 3, 130}
    assert (PostroadError.exit_code, ConfigError.exit_code) == (1, 2)
    assert "130" in (Path(ROOT) / "postroad/cli/main.py").read_text()


def test_the_commands_of_a_code_name_it_in_their_help() -> None:
    named = {" ".join(words): codes(command) for words, command in LEAVES}
    for code in (1, 3):
        for command in re.findall(r"`([a-z -]+?)(?: --\w+)?`", ROWS[code]):
            assert code in named[command], f"{command}: its help does not name {code}"
