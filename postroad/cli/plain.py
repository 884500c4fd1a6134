"""What others wrote, on a terminal."""

from rich.markup import escape


def printable(text: object) -> str:
    """Text without what a terminal would take for an order."""
    return "".join(char if char.isprintable() else " " for char in str(text))


def plain(text: object) -> str:
    """Text without what a terminal or rich would take for an order."""
    return escape(printable(text))
