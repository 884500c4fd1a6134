"""The passwords of ``clients.users``, read from their files into a database for SASL.

libsasl2's ``sasldb`` plug-in finds a password by user, realm and property name, separated by NULs.
"""

from pathlib import Path

from postroad.config.model import Config, User
from postroad.errors import InstallError
from postroad.secrets import files as named_files

LARGEST = 1024
"""The most bytes of a password."""

DATABASE = "sasldb2.db"
"""Its file name in a generation; the image's ``/etc/sasl2/Sendmail.conf`` names it through the ``current`` link."""


def database(config: Config) -> dict[bytes, bytes]:
    """The database's records.

    Raises:
        InstallError: password files can't be read or hold no password, one line each.
    """

    def record(numbered: tuple[int, User]) -> tuple[bytes, bytes]:
        i, user = numbered
        return record_name(user, config), _password(f"At 'clients.users[{i}].password_file'", user.password_file)

    return dict(named_files.all_of(record, enumerate(config.clients.users)))


def record_name(user: User, config: Config) -> bytes:
    """The name of a user's record."""
    return "\0".join([*user.account(config.hostname), "userPassword"]).encode()


def _password(title: str, path: Path) -> bytes:
    password = named_files.read(title, path, LARGEST + 3).removesuffix(b"\n").removesuffix(b"\r")
    if not password:
        raise InstallError(f"{title}: {path} is empty: put the password into it, on one line")
    if len(password) > LARGEST or not {0, 10, 13}.isdisjoint(password):
        raise InstallError(f"{title}: {path} is not one line of at most {LARGEST} bytes: keep one password in it")
    return password
