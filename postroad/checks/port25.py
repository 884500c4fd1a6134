"""Whether port 25 leaves this network: clouds and access providers block it, and then mail only waits."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from postroad.checks.context import Context
from postroad.checks.model import Finding, Level
from postroad.checks.receivers import AttemptStage, Visit, visits

ID = "port-25"
SHORT = True

VENDOR = Path("/sys/class/dmi/id/sys_vendor")


def run(context: Context) -> Iterator[Finding]:
    """One finding for the network, and one for each receiver that is in trouble by itself."""
    if not context.config.delivery.goes_to_receivers:
        yield Finding(ID, Level.INFO, "all mail goes to smarthosts: whether receivers can be reached does not matter")
        return
    yield from judge(context.shared(visits), on_aws=on_aws())


def judge(found: Sequence[Visit], *, on_aws: bool) -> Iterator[Finding]:
    """What these visits say of the network and of single receivers."""
    if not found:
        return
    named = [visit for visit in found if visit.stage > AttemptStage.NO_HOST]
    silent = [visit for visit in named if visit.stage is AttemptStage.NOT_CONNECTED]
    open_to = [visit for visit in named if visit.stage > AttemptStage.NOT_CONNECTED]
    if not named:
        yield Finding(
            ID,
            Level.WARNING,
            "whether port 25 leaves this network is not known: the DNS does not tell where the receivers are",
            _list(found),
            "mend the DNS first: see the check `resolver`; if that is green, this container's DNS server does not know"
            " the Internet's names (`dns:` in Compose)",
            unknown=True,
        )
        return
    # a firewall may open connections itself, to see what comes
    if not any(visit.stage >= AttemptStage.GREETED or visit.refused for visit in open_to):
        yield Finding(
            ID,
            Level.ERROR,
            f"port 25 does not leave this network: no receiver {'greets' if open_to else 'can be reached'}",
            _list(named),
            "AWS blocks it until asked: `postroad aws-request` prints the request; a security group must allow it, too"
            if on_aws
            else "ask the provider to open outgoing port 25, or look for a firewall in between; a smarthost on another"
            " port needs neither",
        )
        return
    yield Finding(ID, Level.OK, "port 25 leaves this network", ", ".join(visit.host for visit in open_to))
    for visit in found:
        if visit in silent:
            fix = "try again later: others can be reached, so it is theirs, or they block this address"
            yield Finding(ID, Level.WARNING, f"{visit.domain} can't be reached", str(visit), fix)
        elif visit.stage <= AttemptStage.NO_HOST:
            yield Finding(
                ID, Level.WARNING, f"{visit.domain}'s mail server can't be found", str(visit), "try again later"
            )
        elif visit.refused:
            fix = "its text may have an address where to ask"
            yield Finding(ID, Level.WARNING, f"{visit.domain} does not let this host in", str(visit), fix)
        elif visit.stage is AttemptStage.CONNECTED:
            fix = "try again later: it is slow, or slow to hosts that it does not know"
            yield Finding(ID, Level.WARNING, f"{visit.domain} does not greet in time", str(visit), fix)


def _list(found: Sequence[Visit]) -> str:
    return "; ".join(map(str, found))


def on_aws() -> bool:
    """Whether this is an EC2 instance, by what its firmware says."""
    try:
        return "Amazon" in VENDOR.read_text()
    except OSError:
        return False
