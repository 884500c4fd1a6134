"""The terminal, or what stands in for one."""

import os
import sys

from rich.console import Console

WIDEST = 10_000
"""Columns where nobody looks: a line of a table is then a line for the program that reads it."""


def console(*, stderr: bool = False, soft_wrap: bool = False, quiet: bool = False) -> Console:
    """Where a command prints: as wide as the terminal, or as ``COLUMNS`` says; without either, lines are not broken."""
    terminal = (sys.stderr if stderr else sys.stdout).isatty()
    width = None if terminal or os.environ.get("COLUMNS") else WIDEST
    return Console(highlight=False, stderr=stderr, soft_wrap=soft_wrap, quiet=quiet, width=width)
