"""Whether TLS to the receivers works, and their certificates can be trusted: if none can, something is in between."""

from collections.abc import Iterator, Sequence

from postroad.checks.context import Context
from postroad.checks.model import Finding, Level
from postroad.checks.receivers import AttemptStage, Visit, visits

ID = "starttls"
SHORT = False


def run(context: Context) -> Iterator[Finding]:
    """One finding, or one for each receiver that is in trouble; none where no mail goes to them."""
    if context.config.delivery.goes_to_receivers:
        yield from judge(context.shared(visits))


def judge(found: Sequence[Visit]) -> Iterator[Finding]:
    """What these visits say of TLS; those that did not get so far say nothing."""
    reached = [visit for visit in found if visit.stage >= AttemptStage.NO_TLS]
    verified = [visit for visit in reached if visit.stage is AttemptStage.VERIFIED]
    if not reached:
        return
    if not verified:
        yield Finding(
            ID,
            Level.ERROR,
            "no receiver can be reached over TLS with a certificate that can be trusted",
            "; ".join(map(str, reached)),
            "look at the clock, and for something between here and the Internet that answers on port 25 itself",
        )
        return
    yield Finding(ID, Level.OK, "TLS to receivers works", ", ".join(map(str, verified)))
    for visit in reached:
        if visit.stage is not AttemptStage.VERIFIED:
            what = {
                AttemptStage.NO_TLS: "offers no TLS",
                AttemptStage.TLS_FAILED: "offers TLS that does not work",
                AttemptStage.UNVERIFIED: "has a certificate that can't be trusted",
            }[visit.stage]
            fix = "nothing, if it is theirs: mail goes there all the same, unless delivery.tls asks for more"
            yield Finding(ID, Level.WARNING, f"{visit.domain} {what}", str(visit), fix)
