"""Text that others wrote, on a terminal."""

from rich.markup import escape


def plain(text: object) -> str:
    """The text without what a terminal or rich would take for an order."""
    return escape("".join(char if char.isprintable() else " " for char in str(text)))
