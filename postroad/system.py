"""The only place that starts a process or changes a file.

Standard library only: the supervisor keeps this in memory for as long as the container lives.
"""

import contextlib
import os
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any, cast

from postroad.errors import CommandError, InstallError

LONGEST_LINE = 1 << 20
"""Characters of a line, and of all errors, of a program that is followed."""


def run(
    argv: Sequence[str],
    *,
    stdin: str = "",
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    timeout: float = 60,
) -> str:
    """Run a program to its end and return its standard output.

    Anything on standard error is a failure: m4 exits 0 after ``*** ERROR``.

    Raises:
        CommandError: it could not be started, ran longer than ``timeout`` seconds, exited non-zero
            or wrote to standard error.
    """
    code, out, err = capture(argv, stdin=stdin, cwd=cwd, env=env, timeout=timeout)
    if code or err.strip():
        raise CommandError(f"{Path(argv[0]).name} failed (exit {code}): {err.strip() or out.strip()}")
    return out


def capture(
    argv: Sequence[str],
    *,
    stdin: str = "",
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    timeout: float = 60,
) -> tuple[int, str, str]:
    """Run a program to its end and return its exit code, standard output and standard error.

    Raises:
        CommandError: it could not be started or ran longer than ``timeout`` seconds.
    """
    name = Path(argv[0]).name
    try:
        done = subprocess.run(
            argv,
            input=stdin,
            cwd=cwd,
            env=env,
            timeout=timeout,
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
        )
    except OSError as error:
        raise CommandError(f"{name} could not be started: {error.strerror}") from error
    except subprocess.TimeoutExpired as error:
        raise CommandError(f"{name} did not end within {timeout:g} s") from error
    return done.returncode, done.stdout, done.stderr


def spawn(
    argv: Sequence[str],
    env: Mapping[str, str],
    *,
    quiet: bool = False,
    stdin: int | None = None,
    output: int | None = None,
) -> int:
    """Start a long-lived child with exactly ``env``, its own session and no signal blocked; return its process id.

    The caller reaps it. Descriptors other than standard output and error are not inherited; those neither if ``quiet``,
    and both are ``output`` where that is given. Its standard input is the descriptor ``stdin``, or empty.

    Raises:
        CommandError: it could not be started.
    """
    actions: list[tuple[Any, ...]] = [(os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0)]
    if stdin is not None:
        actions = [(os.POSIX_SPAWN_DUP2, stdin, 0)]
    if quiet:
        actions += [(os.POSIX_SPAWN_OPEN, number, os.devnull, os.O_WRONLY, 0) for number in (1, 2)]
    if output is not None:
        actions += [(os.POSIX_SPAWN_DUP2, output, number) for number in (1, 2)]
    try:
        return os.posix_spawn(
            argv[0],
            list(argv),
            env,
            file_actions=actions,
            setsid=True,
            setsigmask=(),
            setsigdef=(signal.SIGPIPE, signal.SIGXFSZ),  # Python ignores these two
        )
    except OSError as error:
        raise CommandError(f"{argv[0]} could not be started: {error.strerror}") from error


def converse(argv: Sequence[str], env: Mapping[str, str]) -> tuple[subprocess.Popen[bytes], IO[bytes], IO[bytes]]:
    """Start a program with exactly ``env`` and a session of its own, to talk to; the caller ends it.

    Returns:
        It, its standard input and its standard output.

    Raises:
        CommandError: it could not be started.
    """
    try:
        process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=env, start_new_session=True)
    except OSError as error:
        raise CommandError(f"{argv[0]} could not be started: {error.strerror}") from error
    return process, cast("IO[bytes]", process.stdin), cast("IO[bytes]", process.stdout)


def follow(
    argv: Sequence[str], env: Mapping[str, str], given: str, tell: Callable[[str], None], timeout: float
) -> tuple[int, str]:
    """Run a program to its end, telling each line of its standard output as it comes; return exit code and errors.

    After ``timeout`` seconds it is killed. ``given`` is its standard input. Lines over ``LONGEST_LINE`` come in parts.

    Raises:
        CommandError: it could not be started.
    """
    import threading  # noqa: PLC0415 - the supervisor follows nobody

    errors: list[str] = []
    try:
        process = subprocess.Popen(
            argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=env, text=True,
            errors="replace", start_new_session=True,
        )  # fmt: skip
    except OSError as error:
        raise CommandError(f"{argv[0]} could not be started: {error.strerror}") from error
    stdin, stdout, stderr = cast("tuple[IO[str], IO[str], IO[str]]", (process.stdin, process.stdout, process.stderr))
    late = threading.Timer(timeout, process.kill)
    late.daemon = True
    reader = threading.Thread(target=lambda: errors.append(stderr.read(LONGEST_LINE)), daemon=True)
    with stdout, stderr:
        late.start()
        reader.start()
        with contextlib.suppress(BrokenPipeError), stdin:  # it may have ended
            stdin.write(given)
        while line := stdout.readline(LONGEST_LINE):
            tell(line.rstrip("\n"))
        code = process.wait()
        late.cancel()
        reader.join(5)
    return code, "".join(errors)


def write(path: Path, data: str | bytes, mode: int = 0o600) -> None:
    """Write a file whole: a reader sees the old content or the new, never a part.

    Raises:
        InstallError: it can't be written.
    """
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        descriptor = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
        with open(descriptor, "wb", buffering=0) as file:
            left = memoryview(data if isinstance(data, bytes) else data.encode())
            while left:
                left = left[file.write(left) :]
            os.fsync(file.fileno())
        aside.chmod(mode)
        aside.replace(path)
    except OSError as error:
        with contextlib.suppress(OSError):
            aside.unlink(missing_ok=True)
        raise InstallError(f"{path} can't be written by uid {os.getuid()}: {error.strerror}") from error


def write_database(path: Path, records: Mapping[bytes, bytes]) -> None:
    """Write a Berkeley DB hash file whole, for its owner only; ``path`` ends in ``.db``."""
    import dbm.ndbm  # noqa: PLC0415 - the supervisor has no use for it in its memory

    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    aside = path.with_name(f".{path.stem}.{os.getpid()}.db")
    try:
        with dbm.ndbm.open(str(aside.with_suffix("")), "n", 0o600) as database:
            for key, value in records.items():
                database[key] = value
        aside.replace(path)
    except dbm.ndbm.error as error:
        raise OSError(error.args[0], f"{path} can't be written") from error
    finally:
        aside.unlink(missing_ok=True)


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold a lock on a file, which is made where there is none; wait for whoever holds it."""
    import fcntl  # noqa: PLC0415 - the supervisor has no use for it

    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600), "wb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def identity(path: Path) -> tuple[int, int]:
    """A file's inode and the time of its last change in nanoseconds, which another in its place has not; or zeros."""
    try:
        found = path.stat()
    except OSError:
        return 0, 0
    return found.st_ino, found.st_mtime_ns


def status(path: str) -> str:
    """What changes when a file does, in a word; a link counts as what it leads to. Empty where there is none."""
    try:
        found = os.stat(path)  # noqa: PTH116 - without making a Path: the supervisor asks often
    except OSError:
        return ""
    return f"{found.st_dev}-{found.st_ino}-{found.st_size}-{found.st_mtime_ns}"


def folder(path: Path) -> None:
    """Make a folder for its owner only; one that is there is fine.

    Raises:
        InstallError: it can't be made.
    """
    try:
        path.mkdir(mode=0o700, exist_ok=True)
    except OSError as error:
        raise InstallError(f"{path} can't be made by uid {os.getuid()}: {error.strerror}") from error


def move(path: Path, target: Path) -> None:
    """Give a file a place in another folder of the same file system, and see that it stays there."""
    path.rename(target / path.name)
    descriptor = os.open(target, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def point(link: Path, target: Path) -> None:
    """Let the symbolic link ``link`` name ``target`` from now on, in one step.

    Raises:
        InstallError: it can't be written.
    """
    aside = link.with_name(f".{link.name}.{os.getpid()}")
    try:
        aside.unlink(missing_ok=True)
        aside.symlink_to(target.name if target.parent == link.parent else target)
        aside.replace(link)
    except OSError as error:
        raise InstallError(f"{link} can't be written by uid {os.getuid()}: {error.strerror}") from error


def remove(path: Path) -> None:
    """Remove a file or a whole folder; one that is not there is fine."""
    with contextlib.suppress(FileNotFoundError):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()


def offer_to_oom_killer() -> None:
    """Let the kernel end this process before any other of the container where memory runs out (proc(5)).

    Raises:
        OSError: the kernel does not let us.
    """
    Path("/proc/self/oom_score_adj").write_text("1000")
