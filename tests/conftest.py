"""What all tests share."""

import faulthandler
from collections.abc import Generator
from pathlib import Path

import pytest
from hypothesis import settings

HERE = Path(__file__).parent
GRACE = 60.0
"""Seconds that a test has to fail by itself after its timeout."""
WITHOUT_DOCKER = ("unit", "golden", "bad_configs", "chart")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what starts containers: everything outside of the folders that need none."""
    for item in items:
        if item.path.relative_to(HERE).parts[0] not in WITHOUT_DOCKER:
            item.add_marker(pytest.mark.docker)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """End the process of a test that goes on after its time, as one does that waits for its own threads: it is told as a crash."""
    mark = item.get_closest_marker("timeout")
    seconds = mark.args[0] if mark else float(item.config.getini("timeout"))
    faulthandler.dump_traceback_later(seconds + GRACE, exit=True, file=2)  # sys.stderr may be no file, as under mutmut
    try:
        return (yield)
    finally:
        faulthandler.cancel_dump_traceback_later()


# a test's time says something about the machine, and nothing about the code
settings.register_profile("postroad", deadline=None, derandomize=True)  # a run is like the one before
# for `make faults` and `make nightly`
settings.register_profile("many", deadline=None, max_examples=1000, derandomize=False, print_blob=True)
settings.load_profile("postroad")
