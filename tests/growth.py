"""How the time of some work grows with its size: a ratio within one run, as no bound in seconds holds on every machine."""

import time
from collections.abc import Callable

TIMES = 16
"""The larger work beside the smaller. Time in proportion to the size grows as much, time with its square 256-fold."""


def in_proportion(
    work: Callable[[int], object], size: int, *, prepare: Callable[[int], object] = lambda _: None
) -> bool:
    """Whether the CPU time of ``work(size)`` grows with its size, and not with the square.

    Args:
        work: what is measured; its argument is the size.
        size: the smaller one, which should take about a millisecond or more.
        prepare: is called with each size first, and not measured.
    """

    def least(number: int) -> float:
        prepare(number)
        found = []
        for _ in range(5):
            began = time.process_time()
            work(number)
            found.append(time.process_time() - began)
        return min(found)

    return least(size * TIMES) < 4 * TIMES * least(size)
