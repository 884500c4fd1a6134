"""What others wrote, as text for a terminal, a log or a file of records. Standard library only."""


def printable(text: object) -> str:
    """Text in one line, without what a terminal would take for an order: control characters, marks of direction."""
    return "".join(char if char.isprintable() else " " for char in str(text))


def printable_lines(text: object) -> str:
    """The same for text of several lines."""
    return "\n".join(map(printable, str(text).split("\n")))
