"""The example at the end of a command's help."""

INSIDE = "docker compose exec postroad postroad"
"""How a command is called beside a running server."""


def example(words: str, *, whole: bool = False) -> str:
    """The text under a command's options: a line that can be pasted.

    Args:
        words: the command and its arguments.
        whole: the words are the whole line, as for a command that needs no running server.
    """
    return f"\b\nExample:\n  {words if whole else f'{INSIDE} {words}'}"
