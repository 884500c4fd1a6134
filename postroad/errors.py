"""User errors: what went wrong, where, and what to do next, with the exit code that says so.

A traceback is a bug of ours; everything a person can cause or mend is one of these.
"""


class PostroadError(Exception):
    """A failure that the person running Postroad can act on."""

    exit_code = 1


class ConfigError(PostroadError):
    """The configuration can't be used; the message lists every problem found."""

    exit_code = 2


class InstallError(PostroadError):
    """The environment can't be used: a bad key, an unwritable volume, a file that m4 refuses."""

    exit_code = 2


class CommandError(PostroadError):
    """A program that Postroad runs (m4, makemap, openssl) failed or could not be started."""


def plainly(error: BaseException) -> str:
    """What an error says, for people: without Python's ``[Errno 2]``, but with the file that it is about."""
    if isinstance(error, OSError) and isinstance(error.strerror, str) and error.strerror:
        return f"{error.filename}: {error.strerror}" if isinstance(error.filename, str) else error.strerror
    return str(error) or type(error).__name__
