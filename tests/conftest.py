"""What all tests share."""

from pathlib import Path

import pytest
from hypothesis import settings

HERE = Path(__file__).parent
WITHOUT_DOCKER = ("unit", "golden", "bad_configs", "chart")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what starts containers: everything outside of the folders that need none."""
    for item in items:
        if item.path.relative_to(HERE).parts[0] not in WITHOUT_DOCKER:
            item.add_marker(pytest.mark.docker)


# a test's time says something about the machine, and nothing about the code
settings.register_profile("postroad", deadline=None, derandomize=True)  # a run is like the one before
# for `make faults` and `make nightly`
settings.register_profile("many", deadline=None, max_examples=1000, derandomize=False, print_blob=True)
settings.load_profile("postroad")
