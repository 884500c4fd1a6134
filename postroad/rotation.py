"""``python -m postroad.rotation``: do for the DKIM keys what is due, and tell the log.

The supervisor starts it when there is something to look for. It changes what lies beside the keys; the supervisor sees
that, as it sees another relay's change, and reloads, which hands the signer its keys.
"""

import os
import sys
import time

from postroad.config.load import load
from postroad.config.model import Config
from postroad.dns import dkim_published
from postroad.dns.records import published_at
from postroad.errors import PostroadError, plainly
from postroad.runtime.log import tell
from postroad.runtime.paths import STATE
from postroad.secrets import keys, rotation
from postroad.secrets.rotation import Rotation, Series


def main() -> int:
    """Do what is due; return the exit code, which nobody asks for."""
    os.nice(19)  # the mail goes first
    try:
        config = load()
        series = rotation.series(config, STATE)
    except PostroadError as error:  # it was changed since the server started
        sys.stderr.write(f"postroad: {error}\n")
        return error.exit_code
    code = 0
    for each in series:
        try:
            step(config, each)
        except (PostroadError, OSError) as error:
            tell("err", f"dkim: {each.domain}: {plainly(error)}", 1.0)
            code = 1
    return code


def step(config: Config, each: Series) -> None:
    """Do what is due for one series.

    Raises:
        PostroadError, OSError: it can't be done.
    """
    stands, now = rotation.load(each), time.time()
    for old in keys.remove_past(each, stands, now, rotation.overlap(config)):
        name = published_at(config, each.name(old.selector))
        tell("warning", f"dkim: {name} may be revoked: remove the record, its key is removed here", 1.0)
    if stands.next:
        _take_over(config, each, stands)
    elif config.dkim.rotate and now >= rotation.next_key_due(each, stands, config.dkim.rotate.total_seconds()):
        made = keys.make_next(config, STATE, each, now)
        name, value = each.name(made.next), keys.series_record(each, made.next)
        tell(
            "warning",
            f"dkim: the next key of {each.domain} is made and signs when its record is published: "
            f"{published_at(config, name)} TXT {value}",
            1.0,
        )


def _take_over(config: Config, each: Series, stands: Rotation) -> None:
    """Let the next key sign, if enough resolvers have its record."""
    seen = dkim_published.seen(config, each.name(stands.next), keys.series_record(each, stands.next))
    now = time.time()
    if not seen.enough:
        waits = f"the next key of {each.domain}, {stands.next}, waits for its record"
        tell("info", f"dkim: {waits}: {seen}", 1.0)
    elif keys.switch(STATE, each, stands, now):
        name = published_at(config, each.name(stands.active))
        until = rotation.date(now + rotation.overlap(config))
        tell(
            "info",
            f"dkim: {each.domain} is signed under {stands.next} from now on ({seen}); keep {name} until {until}",
            1.0,
        )


if __name__ == "__main__":
    sys.exit(main())
