"""Every name that a page mentions is one of today's: keys, commands, variables, files, tests, metrics, listeners, mailers, links."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from postroad.cli.main import COMMANDS, Commands
from postroad.config.keys import PREFIX, keys
from postroad.config.model import Config
from postroad.config.sources import RESERVED
from postroad.http import metrics
from tests.documents import DOCUMENTS, ROOT, blocks

KEYS = {re.sub(r"\[\]", "", key.name) for key in keys(Config)}
VARIABLES = {key.variable for key in keys(Config) if key.variable}
FILES = r"\.(md|py|c|db|json|jsonl|toml|yaml|yml|cf|mc|j2|txt|pem|key|eml|ini|php|rb|js|sh)$"
FOLDERS = (
    "postroad",
    "templates",
    "preload",
    "rootfs",
    "tests",
    "bench",
    "deploy",
    "dev",
    "demo",
    "config",
    "docs",
    "dist",
    ".ci",
    ".github",
)
MADE = ("dist/",)
"""What commands write: it is not in the tree."""
THEIRS = ("postroad/compose", "config/config", "config/environments", "config/packages")
"""What stands beside a reader's clone, or in a reader's app."""
INSIDE = ("/etc/postroad", "/run/postroad", "/var/lib/postroad", "/var/spool/mqueue", "/opt/postroad")
"""Folders of the container; below them, a path stands in the code, or in what builds the image."""


def spans(document: str) -> Iterator[str]:
    """The code spans of a page, and its blocks' lines."""
    text = (ROOT / document).read_text()
    bare = re.sub(r"^```\w*\n.*?^```$", "", text, flags=re.DOTALL | re.MULTILINE)
    yield from re.findall(r"`([^`\n]+)`", bare)


def code() -> str:
    """All that names a path of the container."""
    names = [
        *ROOT.glob("postroad/**/*.py"),
        *ROOT.glob("templates/*"),
        *ROOT.glob("preload/*.c"),
        *ROOT.glob("rootfs/**/*"),
    ]
    names += [ROOT / "Dockerfile", ROOT / "compose.yaml", ROOT / "entrypoint.py"]
    return "\n".join(path.read_text() for path in names if path.is_file())


CODE = code()


@pytest.mark.parametrize("document", DOCUMENTS)
def test_keys(document: str) -> None:
    wrong = []
    for span in spans(document):
        name = re.sub(r"\[\d*\]", "", re.split(r"[:=\s]", span)[0]).rstrip(".…*")
        first = name.partition(".")[0]
        if not re.fullmatch(r"[a-z][a-z_]*(\.[a-z_]+)+", name) or first not in Config.model_fields:
            continue
        # the keys of these are names that people choose
        free = name.startswith(("rewrite.addresses.", "delivery.tls.domains.", "sendmail.defines."))
        if not free and not re.search(FILES, name) and name not in KEYS:
            wrong.append(span)
    assert wrong == []


@pytest.mark.parametrize("document", DOCUMENTS)
def test_variables(document: str) -> None:
    text = (ROOT / document).read_text()
    known = VARIABLES | {f"{name}_FILE" for name in VARIABLES} | RESERVED
    for name in set(re.findall(rf"\b{PREFIX}[A-Z0-9_]+\b", text)) - known:
        family = any(each.startswith(name) for each in VARIABLES) and name.endswith("__")
        ours = any(name in (ROOT / path).read_text() for path in ("Makefile", ".ci/run"))
        tests = any(name in path.read_text() for path in ROOT.glob("tests/**/*.py"))
        service = re.fullmatch(r"POSTROAD_(SERVICE_HOST|PORT_\w+|SERVICE_PORT\w*)", name)
        # the example of a misspelt one, and Kubernetes' own
        assert family or ours or tests or service, f"{document}: {name} is no variable of Postroad's"


def find(words: list[str]) -> tuple[click.Command, list[str]] | None:
    """The command that these words call, and the words after it."""
    command: click.Command = Commands()
    context = click.Context(command)
    while words and isinstance(command, click.Group):
        found = command.get_command(context, words[0])
        if found is None:
            return None
        command, words = found, words[1:]
    return command, words


def calls(document: str) -> Iterator[str]:
    yield from (span for span in spans(document) if re.match(r"postroad [a-z]", span))
    for block in blocks(document):
        for line in block.text.replace("\\\n", " ").splitlines():
            if match := re.search(r"(?:exec (?:-T )?postroad|run [^|]*postroad) (postroad )?([a-z-]+.*)", line):
                yield f"postroad {match[2]}" if match[1] else ""


@pytest.mark.parametrize("document", DOCUMENTS)
def test_commands_and_their_options(document: str) -> None:
    for call in filter(None, calls(document)):
        words = re.sub(r"\s+#\s.*|\s[|>].*|;.*", "", call).split()[1:]
        found = find(words)
        assert found, f"{document}: there is no command `{call}`"
        command, rest = found
        options = {name for param in command.params for name in (*param.opts, *param.secondary_opts)}
        used = {word.partition("=")[0].strip("[],.…)") for word in rest if word.strip("[").startswith("--")}
        assert used - {"--help"} <= options, f"{document}: `{call}`"


def test_queue_s_table_names_its_options() -> None:
    found = 0
    for span in spans("docs/queue.md"):
        if span.startswith("queue "):
            target = find(span.split())
            assert target, span
            options = {name for param in target[0].params for name in (*param.opts, *param.secondary_opts)}
            assert set(re.findall(r"--[a-z-]+", span)) <= options, span
            found += 1
    assert found > 4


@pytest.mark.parametrize("document", DOCUMENTS)
def test_metrics(document: str) -> None:
    source = (ROOT / "postroad/http/metrics.py").read_text()
    known = {f"postroad_{name}" for name in metrics.HELP} | set(re.findall(r'"(postroad_\w+)"', source))
    endings = ("", "_total", "_bucket", "_sum", "_count")
    served = {name + end for name in known for end in endings}
    text = "\n".join(spans(document))
    for name in re.findall(r"\bpostroad_[a-z_]+\b", text):
        secret = name in {variable.lower() for variable in VARIABLES} or name == "postroad_db"
        assert name in served or secret, f"{document}: nothing serves {name}"


@pytest.mark.parametrize("document", DOCUMENTS)
def test_files(document: str) -> None:
    for span in spans(document):
        path = re.split(r"::|:(?=mode=)", span)[0].rstrip("/")
        if path.startswith(INSIDE):
            fixed = re.split(r"[*<…]|gen-|journal-", path)[0].rstrip("/")
            parts = fixed.rsplit("/", 1)
            assert fixed in CODE or parts[-1] in CODE, f"{document}: nothing in the container is {span}"
        elif re.fullmatch(r"[\w.]+/[\w./*-]*", path) and path.partition("/")[0] in FOLDERS and "NAME" not in path:
            there = [found for folder in (".", "docs", "postroad") for found in (ROOT / folder).glob(path)]
            assert there or path.startswith((*MADE, *THEIRS)), f"{document}: there is no {span}"


def test_tests_that_are_named_exist() -> None:
    files: dict[str, str] = {}
    for path in ROOT.glob("tests/**/*.py"):
        for name in (path.name, str(path.relative_to(ROOT))):
            files[name] = files.get(name, "") + path.read_text()
    named, gone = 0, []
    for document in DOCUMENTS:
        last = ""
        for span in spans(document):
            file, colons, name = span.rpartition(" ")[2].partition("::")
            last = file or last
            if not file.endswith(".py") and not (not file and colons and last.endswith(".py")):
                continue
            if colons and last in files:
                gone += [] if re.search(rf"def {name}\b", files.get(last, "")) else [f"{document}: {span}"]
                named += 1
            elif colons or last.rpartition("/")[2].startswith("test_"):
                gone += [] if last in files else [f"{document}: {span}"]
    assert not gone, "\n".join(gone)
    assert named > 50


def test_listeners_and_mailers_in_examples_are_those_of_today() -> None:
    rendered = "\n".join(path.read_text() for path in ROOT.glob("tests/golden/*/**/sendmail.mc"))
    listeners = set(re.findall(r"Name=(\w+)", rendered))
    mailers = set(re.findall(r"^M(\w+),", rendered, re.MULTILINE))
    assert {"smtp", "submission", "submissions"} == listeners
    assert {"mx", "smarthost"} <= mailers
    shown = [
        json.loads(line)
        for document in DOCUMENTS
        for block in blocks(document)
        if block.language == "json"
        for line in block.text.splitlines()
        if line.startswith('{"event"') and line.endswith("}")
    ]
    assert len(shown) > 10
    for event in shown:
        assert event.get("listener", "smtp") in listeners, event
        assert event.get("mailer", "mx") in mailers, event
    events = "".join(spans("docs/events.md"))
    assert "mx" in events


def anchors(text: str) -> set[str]:
    """The anchors that GitHub makes of a page's headings."""
    bare = re.sub(r"^```\w*\n.*?^```$", "", text, flags=re.DOTALL | re.MULTILINE)
    found: set[str] = set()
    for heading in re.findall(r"^#+ (.*)$", bare, re.MULTILINE):
        plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading.replace("`", "")).strip().lower()
        anchor = re.sub(r"[^\w\- ]", "", plain).replace(" ", "-")
        number = 1
        while (name := anchor if number == 1 else f"{anchor}-{number - 1}") in found:
            number += 1
        found.add(name)
    return found


@pytest.mark.parametrize("document", DOCUMENTS)
def test_links_lead_somewhere(document: str) -> None:
    path = ROOT / document
    for target in re.findall(r"\]\(([^)\s]+)\)", re.sub(r"`[^`\n]*`", "", path.read_text())):
        if re.match(r"https?:|mailto:", target):
            continue
        file, _, anchor = target.partition("#")
        there = (path.parent / file) if file else path
        assert there.exists(), f"{document}: {target}"
        if anchor:
            assert anchor in anchors(there.read_text()), f"{document}: {target}"


def test_every_page_is_on_the_index_or_linked() -> None:
    index = (ROOT / "docs/README.md").read_text()
    missing = [path.name for path in sorted(Path(ROOT / "docs").glob("*.md")) if f"({path.name}" not in index]
    assert missing == ["README.md"]


def test_every_page_is_on_the_site() -> None:
    text = (ROOT / "mkdocs.yml").read_text()
    pages = re.findall(r"^ +- .*: (\S+\.md)$", text[text.index("nav:") :], re.MULTILINE)
    assert sorted(pages) == sorted(path.name for path in (ROOT / "docs").glob("*.md"))
    assert "strict: true" in text


def test_a_name_that_is_none_is_found() -> None:
    assert "listeners.bulk" not in KEYS
    assert find(["queue", "nothing"]) is None
    assert COMMANDS
