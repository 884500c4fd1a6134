"""Text for a terminal, a log or a file of records: what others wrote, and numbers of things. Standard library only."""


def printable(text: object) -> str:
    """Text in one line, without what a terminal would take for an order: control characters, marks of direction."""
    return "".join(char if char.isprintable() else " " for char in str(text))


def printable_lines(text: object) -> str:
    """The same for text of several lines."""
    return "\n".join(map(printable, str(text).split("\n")))


def counted(number: int, thing: str, things: str = "") -> str:
    """A number of things: ``1 event``, ``2 events``. ``things`` is a plural that does not only end in another s."""
    return f"{number} {thing if number == 1 else things or f'{thing}s'}"
