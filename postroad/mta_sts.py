"""``python -m postroad.mta_sts``: looks up MTA-STS policies (RFC 8461) for sendmail's rules, which ask by socketmap.

postfix-mta-sts-resolver does it: this gives it Postroad's paths, and its log lines to the log socket. Policies come
over HTTPS from hosts with a valid certificate; ``SSL_CERT_FILE`` names the authorities besides the system's.
"""

import asyncio
import logging
import os
import signal
import sqlite3
from typing import Any, NoReturn

from postfix_mta_sts_resolver.proactive_fetcher import STSProactiveFetcher
from postfix_mta_sts_resolver.responder import STSSocketmapResponder
from postfix_mta_sts_resolver.utils import create_cache, populate_cfg_defaults

from postroad.events.syslog import LEVELS
from postroad.runtime.log import tell
from postroad.runtime.paths import MTA_STS, MTA_STS_POLICIES

SETTINGS: dict[str, Any] = {
    "path": str(MTA_STS),
    "mode": 0o600,
    # two: a policy that is written does not hold up those that are read
    "cache": {"type": "sqlite", "options": {"filename": str(MTA_STS_POLICIES), "threads": 2}},
    # the rules see to SNI themselves
    "default_zone": {"require_sni": False},
    # once a day: a policy does not run out because nobody wrote to its domain (RFC 8461, section 10.2)
    "proactive_policy_fetching": {"enabled": True},
}
"""What mta-sts-daemon.yml(5) describes."""


class LogHandler(logging.Handler):
    """Gives the log socket what the library has to say."""

    def emit(self, record: logging.LogRecord) -> None:
        """Send a line."""
        level = record.levelname.lower()
        tell(level if level in LEVELS else "err", f"mta-sts: {record.getMessage()}")


async def serve() -> None:
    """Answer, until the process is ended: by a signal, or with exit code 1 where it can't answer."""
    settings, loop = populate_cfg_defaults(SETTINGS), asyncio.get_running_loop()
    cache = create_cache(settings["cache"]["type"], settings["cache"]["options"])
    try:
        await cache.setup()
        await STSProactiveFetcher(settings, loop, cache).start()
        await STSSocketmapResponder(settings, loop, cache).start()
    except sqlite3.Error as error:
        give_up(f"{MTA_STS_POLICIES} can't be read ({error}): remove it, and policies are fetched anew")
    except OSError as error:
        give_up(f"{MTA_STS} can't be listened on: {error.strerror}")
    await loop.create_future()


def give_up(why: str) -> NoReturn:
    """Tell the log, and end at once: the threads of the database would complain of a loop that is closed."""
    tell("err", f"mta-sts: {why}")
    os._exit(1)


def main() -> None:
    """Serve."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: os._exit(0))  # a transaction that is cut off is made again
    os.umask(0o077)
    logging.basicConfig(level=logging.WARNING, handlers=[LogHandler()])
    asyncio.run(serve())


if __name__ == "__main__":
    main()
