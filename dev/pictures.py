"""The README's pictures: what ``doctor`` and ``trace`` print, and the console, from the image in a pretend internet.

``make pictures`` takes them.

The one thing that is wrong there is meant to be: no DMARC record is published.
"""

import io
import os
import re
import secrets
import shutil
import sys
import tempfile
from pathlib import Path

from playwright.sync_api import ViewportSize, sync_playwright
from rich._export_format import CONSOLE_SVG_FORMAT
from rich.console import Console
from rich.text import Text

from postroad import system
from postroad.testing import PostroadContainer
from tests.internet.internet import TREE, Internet, build_image

FOLDER = Path("docs/pictures")
ADDRESS = "203.0.113.20"
WIDTH = 110
LINES = 30
# rich's own names a font that would be fetched from elsewhere, which GitHub does not do
FORMAT = re.sub(r"@font-face \{\{.*?\}\}\s*", "", CONSOLE_SVG_FORMAT, flags=re.DOTALL)
PORT = 8080
WIDE = 1100
PAGES = (
    ("console-overview", "/", "svg", 1250),
    ("console-message", "/messages", ".timeline", 720),
    ("console-domains", "/domains", "article", 720),
)
"""Pictures of the console: their names, the paths, what is there once a page is, and how many pixels high they are."""
DAY = """
import random, sqlite3, time
random.seed(1)
rows = []
for number in range(2000):
    # most of it by day
    at = time.time() - 86400 * (1 - random.betavariate(2.5, 2))
    about = f"d{number}", f"<{number}@example.com>", "app@example.com", f"user{number}@example.net", "example.com"
    provider = random.choices(["gmail", "outlook", "yahoo", None], [5, 3, 1, 1])[0]
    end, reason = random.choices(
        [("delivered", None), ("bounced", "userunknown"), ("bounced", "mailboxfull")], [970, 20, 10]
    )[0]
    took = random.expovariate(0.5)
    rows.append((at, "accepted", *about, "example.net", None, None, None))
    if random.random() < 0.04:
        rows.append((at + 1, "deferred", *about, "example.net", "greylisted", 0, provider))
        took += 300
    rows.append((at + took, end, *about, "example.net", reason, reason == "userunknown", provider))
with sqlite3.connect("/var/lib/postroad/events/events.db", timeout=60) as connection:
    connection.executemany(
        "INSERT INTO events (time, kind, queue_id, message_id, sender, recipient, sender_domain, recipient_domain,"
        " reason, hard, provider, data) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, '{}')",
        rows,
    )
"""
"""A day's mail, as the store has it."""
COLOURS = {"TTY_COMPATIBLE": "1", "TTY_INTERACTIVE": "0", "COLUMNS": str(WIDTH), "TERM": "xterm-256color"}


def picture(command: str, output: str) -> str:
    """A terminal with this output, as SVG; the same for the same output."""
    console = Console(record=True, width=WIDTH, file=io.StringIO(), force_terminal=True, color_system="truecolor")
    lines = output.rstrip().splitlines()
    shown = [*lines[: LINES - 1], "…"] if len(lines) > LINES else lines
    console.print(Text.from_ansi("\n".join(shown)))
    return console.export_svg(title=f"$ {command}", code_format=FORMAT, unique_id="postroad")


def run(relay: PostroadContainer, *words: str) -> str:
    """What a command prints, in colour."""
    # the receiver's policy host has a certificate of the pretend internet's authority
    settings = " ".join(f"{name}={value}" for name, value in {**COLOURS, "SSL_CERT_FILE": "/tmp/ca.pem"}.items())
    return relay.shell(f"{settings} postroad {' '.join(words)}")[1]


def photograph(address: str, password: str) -> None:
    """Take pictures of the console's main pages, in Debian's Chromium."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        page = browser.new_context(
            base_url=f"https://{address}:{PORT}", ignore_https_errors=True, locale="en-US"
        ).new_page()
        page.goto("/login")
        page.fill("#password", password)
        page.keyboard.press("Enter")
        page.wait_for_url("**/")
        for name, path, ready, high in PAGES:
            page.set_viewport_size(ViewportSize(width=WIDE, height=high))
            page.goto(path)
            if path == "/messages":
                page.goto("/messages?q=nobody@nowhere.example")
                page.get_by_role("link", name="bounced").first.click()
            page.locator(ready).first.wait_for(timeout=60_000)
            page.screenshot(path=FOLDER / f"{name}.png")
        browser.close()


def main() -> int:
    """Write the pictures; 0."""
    build_image()
    image = os.environ.get("POSTROAD_IMAGE", "postroad:latest")
    with Internet(f"postroad-pictures-{secrets.token_hex(3)}") as internet:
        internet.add_mx("example.net", "example.com")
        internet.add_zone("113.0.203.in-addr.arpa", "bl.example.org")
        internet.publish("2.0.0.127.bl.example.org", "A", "127.0.0.2")
        config = {
            "hostname": "mail.example.com",
            "domains": ["example.com"],
            "public_ip": [ADDRESS],
            "clients": {"trust_gateway": False},
            "dns": {"servers": [internet.dns.address]},
            "doctor": {"receivers": ["example.net"], "dnsbls": ["bl.example.org"], "ntp": []},
            "web": {"listen": f"0.0.0.0:{PORT}", "password_file": "/secrets/console"},
        }
        password, folder = secrets.token_urlsafe(), Path(tempfile.mkdtemp())
        folder.chmod(0o755)
        (folder / "console").write_text(password)
        (folder / "console").chmod(0o444)
        dns = [internet.dns.address]
        prepared = PostroadContainer(config, image=image, network=internet.network, dns=dns, labels=TREE)
        with prepared.with_volume_mapping(str(folder), "/secrets", "ro") as relay:
            relay.shell(f"cat > /tmp/ca.pem <<END\n{internet.ca_certificate().decode()}\nEND")
            _, records = relay.shell("postroad dns --format bind")
            found = re.findall(r"^(\S+)\.\s+\d+\s+IN\s+(A|PTR|TXT)\s+(.*)$", records, re.MULTILINE)
            for name, kind, data in found:
                if not name.startswith("_dmarc."):
                    internet.dns.run("zone", "update", f"add {name}. 60 {kind} {data}\nsend")
            doctor = run(relay, "doctor")
            run(relay, "send", "you@example.net")
            run(relay, "send", "nobody@nowhere.example")
            trace = run(relay, "trace", "postmaster@example.com")
            relay.shell(f"/opt/postroad/venv/bin/python3 - <<'END'\n{DAY}\nEND")
            system.folder(FOLDER)
            photograph(relay.address, password)
        system.remove(folder)
    inside = "docker compose exec postroad postroad"
    system.write(FOLDER / "doctor.svg", picture(f"{inside} doctor", doctor), mode=0o644)
    system.write(FOLDER / "trace.svg", picture(f"{inside} trace postmaster@example.com", trace), mode=0o644)
    return 0


if __name__ == "__main__":
    sys.exit(main())
