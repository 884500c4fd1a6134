"""The list of suppressed addresses while it changes: sendmail's rules read a file that the recorder writes anew."""

import smtplib
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from postroad.testing import PostroadContainer
from tests.integration.conftest import Relays, wait_until
from tests.internet.internet import Internet

# each copy is younger than the one before by a second: sendmail opens the file anew when it is younger
REWRITE = """
import os, shutil, time
path, age = "/var/lib/postroad/suppressed.db", time.time()
while not os.path.exists("/tmp/enough"):
    age += 1
    shutil.copyfile(path, "/tmp/suppressed.db")
    shutil.copyfile("/tmp/suppressed.db", path + ".new")
    os.utime(path + ".new", (age, age))
    os.rename(path + ".new", path)
    time.sleep(0.02)
"""


@pytest.fixture
def rewritten(start_relay: Relays, internet: Internet) -> Iterator[PostroadContainer]:
    relay = start_relay(publish=False)
    with ThreadPoolExecutor(1) as pool:
        writer = pool.submit(relay.shell, f"exec /opt/postroad/venv/bin/python3 -c '{REWRITE}'")
        yield relay
        relay.shell("touch /tmp/enough")
        assert writer.result() == (0, "")


def test_a_list_that_is_written_anew_all_the_time_refuses_nobody(rewritten: PostroadContainer) -> None:
    """sendmail gives up on a map that is replaced between its look at the file and its open, for as long as the process lives."""
    relay = rewritten
    answers: Counter[int] = Counter()

    def ask() -> None:
        with smtplib.SMTP(relay.host, relay.port, timeout=30) as smtp:
            smtp.ehlo("app.example")
            smtp.mail("app@sender.example")
            answers.update(smtp.rcpt(f"user-{number}@rcpt.example")[0] for number in range(5))

    def seen() -> bool:
        with ThreadPoolExecutor(4) as pool:
            for each in [pool.submit(ask) for _ in range(100)]:
                each.result()
        return relay.log().count("file changed after") >= 3

    wait_until(seen, timeout=120)
    assert set(answers) == {250}
