"""Reasons not to be ready: the supervisor writes them, the recorder reads their causes."""

import pytest

from postroad.runtime import reasons
from postroad.runtime.plan import DAEMONS
from postroad.runtime.reasons import Cause

WRITTEN = [
    *((text(name), Cause.DAEMON) for name in sorted(DAEMONS) for text in (reasons.not_running, reasons.not_serving)),
    (reasons.gone("17"), Cause.DAEMON),
    (reasons.processes_reached(40), Cause.PROCESSES),
    (reasons.processes_near(40), Cause.PROCESSES),
    (reasons.memory_reached(128 << 20), Cause.MEMORY),
    (reasons.memory_near(128 << 20), Cause.MEMORY),
    (reasons.NONE_SUCCEEDS, Cause.DELIVERIES),
    (reasons.NOT_TRIED, Cause.QUEUE),
]


@pytest.mark.parametrize(("text", "cause"), WRITTEN)
def test_the_cause_of_a_reason_is_read_as_it_was_written(text: str, cause: Cause) -> None:
    assert reasons.cause_of(text) is cause


def test_each_cause_has_a_reason() -> None:
    assert {cause for _, cause in WRITTEN} == set(Cause)


@pytest.mark.parametrize("text", [each for each, cause in WRITTEN if cause is not Cause.DAEMON])
def test_a_reason_that_the_health_file_has_cut_keeps_its_cause(text: str) -> None:
    assert reasons.cause_of(text[:-4]) is reasons.cause_of(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "starting",
        "the supervisor is not running",
        "reload failed: sendmail does not run as configured",
        "delivery: ",
    ],
)
def test_other_texts_have_no_cause(text: str) -> None:
    assert reasons.cause_of(text) is None


def test_the_size_is_in_mebibytes() -> None:
    assert reasons.memory_near(128 << 20) == "memory is near its limit: it is 128 MiB"
