"""Values in m4: what may stand in a ``sendmail.mc`` and how it is quoted.

m4 reads a backtick and a quote as the ends of a quoted string, and text outside of one as macro calls:
a value that closes its quotes reaches ``esyscmd`` and with it a shell. The configuration refuses such
values; this is the second lock, at the place where they would do harm.
"""

from postroad.errors import InstallError

UNSAFE = frozenset("`'\x7f") | {chr(code) for code in range(32)}


def quote(value: str | int) -> str:
    """A value as a quoted string of m4, the second argument of a ``define``.

    Raises:
        InstallError: it holds a backtick, a quote, or a control character.
    """
    text = str(value)
    found = UNSAFE.intersection(text)
    if found:
        raise InstallError(f"{text!r} can't be written into sendmail.mc: it holds {min(found)!r}")
    return f"`{text}'"


def word(value: str | int) -> str:
    """A value in a table read line by line and field by field (access, signing and key tables, class files).

    Raises:
        InstallError: it holds white space, a control character, or nothing.
    """
    text = str(value)
    if not text or any(character.isspace() or ord(character) < 32 or ord(character) == 127 for character in text):
        raise InstallError(
            f"{text!r} can't be written into a table: it is empty, or holds a space or a control character"
        )
    return text
