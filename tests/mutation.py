"""A plugin for ``make mutants``: which functions a test calls is told by threads, too.

mutmut goes through the set of them when a test ends. Threads of servers that the test left may still add to it then, and
that ended the whole run.
"""

from collections.abc import Iterator

from mutmut.state import state


class CalledFunctions(set[str]):
    """A set that others may add to while somebody goes through it."""

    def __iter__(self) -> Iterator[str]:
        """All that are in it at this moment: no other thread runs while they are copied."""
        return iter(tuple(super().__iter__()))


def pytest_configure() -> None:
    """Take the place of mutmut's own set."""
    state()._stats = CalledFunctions(state()._stats)
