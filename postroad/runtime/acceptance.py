"""Whether the server takes new messages, as sendmail's rules read it at each connection. Standard library only.

Anything but ``mail<TAB>yes`` in the file, or no file at all, means no.
"""

from postroad import system
from postroad.runtime.paths import ACCEPTANCE

_YES = "mail\tyes\n"


def set_accepting(accepting: bool) -> None:
    """Take new messages from now on, or don't.

    Raises:
        InstallError: the file can't be written.
    """
    system.write(ACCEPTANCE, _YES if accepting else "mail\tno\n")


def accepting() -> bool:
    """Whether new messages are taken."""
    try:
        return ACCEPTANCE.read_text() == _YES
    except OSError:
        return False
