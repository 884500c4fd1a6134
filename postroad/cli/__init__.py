"""The ``postroad`` command: parses words, calls the packages below, prints."""

from postroad.cli.main import main

__all__ = ["main"]
