"""The passwords of ``clients.users``: read from their files, handed to SASL in a database of its own.

libsasl2's ``sasldb`` plug-in finds a password under the user, the realm and the property's name, with NULs between.
"""

from postroad.config.model import Config, User
from postroad.errors import InstallError

LARGEST = 1024
"""Bytes of a password."""

DATABASE = "sasldb2.db"
"""Its file in a generation; ``/etc/sasl2/Sendmail.conf`` of the image names it through the ``current`` link."""


def database(config: Config) -> dict[bytes, bytes]:
    """The database's records.

    Raises:
        InstallError: a password's file can't be read, or holds none.
    """
    return {
        "\0".join([*user.account(config.hostname), "userPassword"]).encode(): _password(user)
        for user in config.clients.users
    }


def _password(user: User) -> bytes:
    where = f"the password of user {user.name}, {user.password_file}"
    try:
        with user.password_file.open("rb") as file:
            password = file.read(LARGEST + 3).removesuffix(b"\n").removesuffix(b"\r")
    except OSError as error:
        raise InstallError(f"{where}, can't be read: {error.strerror}") from error
    if not password:
        raise InstallError(f"{where}, is empty")
    if len(password) > LARGEST or not {0, 10, 13}.isdisjoint(password):
        raise InstallError(f"{where}, is not one line of at most {LARGEST} bytes")
    return password
