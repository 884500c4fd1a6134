"""Where things are in the container. Standard library only."""

from pathlib import Path

_PACKAGE = Path(__file__).parents[1]
TEMPLATES = next((path for path in (_PACKAGE / "templates", _PACKAGE.parent / "templates") if path.is_dir()), _PACKAGE)
"""The templates: in the package where it is installed, beside it in the source tree."""

RUN = Path("/run/postroad")
"""A tmpfs: sockets, process ids, and the rendered generations."""

STATE = Path("/var/lib/postroad")
"""A volume: the DKIM keys, the self-signed certificate, the events."""

EVENTS = STATE / "events"
"""The event store: its journal and its database."""

SUPPRESSED = STATE / "suppressed"
"""The addresses that get no more mail, for sendmail's rules: a map, ``suppressed.db``."""

BRAKED = STATE / "braked"
"""The sender domains of which too much bounces, for sendmail's rules: a line each."""

REDACTION_KEY = STATE / "redaction.key"
"""The key of the digests that stand for addresses in the log."""

SENDMAIL = "/usr/sbin/sendmail"
"""sendmail's program."""
DOCTOR = STATE / "doctor.json"
"""What the doctor's last regular look found. A volume: a restart tells nothing twice."""

CONSOLE = STATE / "console.json"
"""What the console's doctor found at its last two runs. A volume: a restart leaves something to compare with."""

QUEUE = Path("/var/spool/mqueue")
"""A volume: sendmail's queue."""

CURRENT = RUN / "current"
"""A link to the generation in force."""

LOG_SOCKET = RUN / "log"
"""Where the daemons' syslog lines arrive."""

FEED = RUN / "events"
"""Where events can be read as they happen."""
ACCEPTANCE = RUN / "acceptance"
"""Whether new messages are taken, for sendmail's rules."""

RATES = RUN / "rates"
"""Where sendmail asks how many messages a client has sent, and the preloaded library who guesses passwords."""

RELEASED = RUN / "released"
"""The messages that the shaper has released, and their queue groups, for sendmail's rules: a line each."""

SHAPER = RUN / "shaper"
"""Where the shaper is told to try messages at once."""

PARTS = RUN / "parts"
"""Where the recorder tells the shaper its parts of limits that relays share."""

SHAPER_LOCK = RUN / "shaper.lock"
"""Held by the shaper and by all that it has started."""

RETURNS = STATE / "returns"
"""What has come back and is not read yet (``spool``), and what could not be read (``unread``). A volume."""

PACES = STATE / "paces.json"
"""What shaped routes have sent lately. A volume: a restart gives them no more."""

SIGNER = RUN / "signer"
"""Where sendmail asks about each message: a milter."""

UPLINK = RUN / "uplink"
"""Where sendmail hands sessions for smarthosts to the uplink."""

OAUTH = STATE / "oauth"
"""The refresh tokens that count now. A volume: a provider may take each once."""

BOUNCES = RUN / "bounces"
"""Where sendmail asks the signer for the signature of a bounce that it made: a socket map."""

MTA_STS = RUN / "mta-sts"
"""Where sendmail asks for the MTA-STS policies of domains."""

MTA_STS_POLICIES = STATE / "mta-sts.db"
"""The policies that are known. A volume: who can hold back a policy must not gain by a restart."""

HEALTH = RUN / "health"
"""The supervisor's state and its daemons' process ids, for the image's health check."""

FRONT = RUN / "front"
"""Where the front says what it has in hand, to whoever connects."""

PUT_OFF = RUN / "put-off"
"""Where the front is told of messages for whose delivery there was no room, a line each: preload/attempts.c."""

OUTCOMES = RUN / "outcomes"
"""Where the front is told what has become of attempts."""

RECEIVERS = STATE / "receivers.json"
"""The receivers that get less, since they have asked for it. A volume: after a restart they need not ask again."""

SLOWED = RUN / "slowed"
"""There while any receiver gets less: the front alone lets mail go then (preload/attempts.c)."""

ATTEMPTS = RUN / "attempts"
"""The attempts at delivery that are under way, as preload/attempts.c keeps them."""


def inner_door(number: int) -> Path:
    """The socket of an inner door of sendmail's daemon, as preload/doors.c makes it."""
    return RUN / f"door-{number}"
