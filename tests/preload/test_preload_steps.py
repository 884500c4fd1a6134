"""The preloaded library under ASan and UBSan, in a program that calls what sendmail calls: order and sharing, recorded.

What needs sendmail, or the image's C library, is in ``integration/test_preload.py``.
"""

import os
import socket
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

HERE = Path(__file__).parent
APART = {"absent.c", "exit_status.c"}  # libraries of their own
SOURCES = [path for path in sorted((HERE.parents[1] / "preload").glob("*.c")) if path.name not in APART]
SANITIZE = ["-fsanitize=address,undefined", "-fno-sanitize-recover=undefined", "-fno-omit-frame-pointer", "-g"]
STRICT = ["-std=gnu17", "-O1", "-fPIC", "-Wall", "-Wextra", "-Werror"]
ID = "6AQ7bcSZ000083"
CONTROL, BODY = f"qf{ID}", f"df{ID}"

Steps = Callable[..., list[str]]
pytestmark = pytest.mark.compiler


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("preload")
    for arguments in (
        [*STRICT, *SANITIZE, "-shared", "-fvisibility=hidden", "-o", "preload.so", *map(str, SOURCES), "-ldl"],
        [*STRICT, "-shared", "-o", "recorder.so", str(HERE / "recorder.c"), "-ldl"],
        [*STRICT, *SANITIZE, "-o", "steps", str(HERE / "steps.c")],
    ):
        done = subprocess.run(["gcc", *arguments], cwd=folder, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture
def steps(built: Path, tmp_path: Path) -> Steps:
    """Run the program in a folder of its own: what it printed, then what was called."""
    queue = tmp_path / "mqueue"
    queue.mkdir()

    def run(*words: str, **environment: str) -> list[str]:
        with open(tmp_path / "calls", "w+b") as calls:
            done = subprocess.run(
                [str(built / "steps"), *words],
                cwd=queue,
                env={
                    # the sanitizer has to be the first library; here it is linked into the program
                    "LD_PRELOAD": f"{built}/preload.so {built}/recorder.so",
                    "ASAN_OPTIONS": "detect_leaks=0:verify_asan_link_order=0:exitcode=99",
                    "UBSAN_OPTIONS": "print_stacktrace=1",
                    "RECORD": str(calls.fileno()),
                    **environment,
                },
                pass_fds=(calls.fileno(),),
                capture_output=True,
                text=True,
                timeout=60,
                check=False,
            )
            assert (done.returncode, done.stderr) == (0, "")
            calls.seek(0)
            return [*done.stdout.splitlines(), *calls.read().decode().splitlines()]

    return run


def test_a_control_file_s_name_is_saved_with_it(steps: Steps) -> None:
    assert steps("create", BODY, "sync", BODY, "create", CONTROL, "sync", CONTROL) == [
        f"fsync {BODY}",
        f"fsync {CONTROL}",
        "fsync mqueue",
    ]


def test_other_files_are_saved_as_ever(steps: Steps) -> None:
    names = ["qf1", "xf6AQ7bcSZ000083", "qfqfqfqf.map"]
    words = [word for name in names for word in ("create", name, "sync", name)]
    assert steps(*words) == [f"fsync {name}" for name in names]


@pytest.mark.parametrize("fails", [CONTROL, "mqueue"])
def test_what_can_t_be_saved_is_said(steps: Steps, fails: str) -> None:
    assert f"sync {CONTROL}: EIO" in steps("create", CONTROL, "sync", CONTROL, FAIL=f"fsync {fails}")


def test_a_control_file_goes_before_its_body_and_the_folder_is_saved_between(steps: Steps) -> None:
    made = ["create", BODY, "create", CONTROL]
    assert steps(*made, "unlink", BODY, "sync-folder", ".", "unlink", CONTROL) == [
        f"unlink {CONTROL}: ENOENT",
        f"unlink {CONTROL}",
        "fsync mqueue",
        f"unlink {BODY}",
        f"unlink {CONTROL} failed",
    ]


def test_a_folder_that_was_not_saved_is_saved_when_sendmail_asks(steps: Steps) -> None:
    made = ["create", BODY, "create", CONTROL]
    calls = steps(*made, "unlink", BODY, "sync-folder", ".", "sync-folder", ".", FAIL="nothing")
    assert calls == [f"unlink {CONTROL}", "fsync mqueue", f"unlink {BODY}", "fsync mqueue"]
    failed = steps(*made, "unlink", BODY, "sync-folder", ".", FAIL="fsync mqueue")
    assert failed == [
        "sync .: EIO",
        f"unlink {CONTROL}",
        "fsync mqueue failed",
        f"unlink {BODY}",
        "fsync mqueue failed",
    ]


def test_a_body_stays_while_its_control_file_does(steps: Steps) -> None:
    made = ["create", BODY, "create", CONTROL]
    assert steps(*made, "unlink", BODY, FAIL=f"unlink {CONTROL}") == [f"unlink {BODY}: EIO", f"unlink {CONTROL} failed"]


def test_a_body_without_a_control_file_goes_alone(steps: Steps) -> None:
    assert steps("create", BODY, "unlink", BODY) == [f"unlink {CONTROL} failed", f"unlink {BODY}"]


def test_a_path_of_any_length(steps: Steps, tmp_path: Path) -> None:
    deep = tmp_path / "mqueue" / ("d" * 200) / ("e" * 200)
    deep.mkdir(parents=True)
    calls = steps("create", f"{deep}/{CONTROL}", "sync", f"{deep}/{CONTROL}", "unlink", f"{deep}/{BODY}")
    assert calls[1:] == [
        f"fsync {CONTROL}",
        f"fsync {'e' * 200}",
        f"unlink {CONTROL}",
        f"fsync {'e' * 200}",
        f"unlink {BODY} failed",
    ]
    long = "/".join(["n" * 250] * 20)
    assert steps("unlink", f"{long}/{BODY}")[0].endswith(": ENAMETOOLONG")


def test_authorities_are_read_once_and_shared_with_children(steps: Steps) -> None:
    assert steps("authorities", "/ca.pem", "fork", "authorities", "/ca.pem", "fork", "authorities", "/ca.pem") == [
        "authorities 1 1",
        *["authorities 1 1"] * 2,
        "read /ca.pem",
        *["share store"] * 2,
    ]


def test_the_daemon_itself_reads_anew(steps: Steps) -> None:
    assert steps("authorities", "/ca.pem", "authorities", "/ca.pem")[-2:] == ["read /ca.pem"] * 2


def test_others_than_those_that_are_known_are_read(steps: Steps) -> None:
    assert steps("authorities", "/ca.pem", "fork", "authorities", "/other.pem")[-1] == "read /other.pem"
    assert steps("fork", "authorities", "/ca.pem")[-1] == "read /ca.pem"
    assert steps("authorities", "x" * 300, "fork", "authorities", "x" * 300)[-1] == f"read {'x' * 300}"


def test_authorities_that_can_t_be_read_are_not_shared(steps: Steps) -> None:
    assert steps("authorities", "/ca.pem", "fork", "authorities", "/ca.pem", FAIL="read /ca.pem") == [
        "authorities 0 0",
        "authorities 0 0",
    ]


@pytest.mark.parametrize(
    ("size", "shown"),
    [(64, "0 mail.example.com"), (17, "0 mail.example.com"), (16, "-1 mail.example.com"), (4, "-1 mail")],
)
def test_the_host_s_name_in_whatever_room_there_is(steps: Steps, size: int, shown: str) -> None:
    assert steps("hostname", str(size), POSTROAD_FQDN="mail.example.com") == [shown]


@pytest.mark.parametrize("length", [0, 1, 2000, 2040, 2048, 4096, 65_000, 65_536, 200_000])
def test_a_line_of_any_length_is_logged(steps: Steps, tmp_path: Path, length: int) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as log:
        log.bind(str(tmp_path / "log"))
        log.settimeout(10)
        steps("log", str(length), POSTROAD_LOG_SOCKET=str(tmp_path / "log"))
        line = log.recv(1 << 18).decode()
    assert line.startswith("<22>unknown[")
    assert line.partition("]: ")[2] == "x" * min(length, 65_535 - len(line.partition("]: ")[0]) - 3)


def test_an_environment_that_is_too_long_is_none(steps: Steps) -> None:
    name = steps(
        "hostname", "200", POSTROAD_FQDN="h" * 256, POSTROAD_LOG_SOCKET="/" + "l" * 200, POSTROAD_NO_AUTH="5" * 600
    )
    assert name == [f"0 {os.uname().nodename}"]


@pytest.mark.parametrize(
    ("prefer", "found"),
    [("auto", ["IPv6", "IPv6", "IPv4"]), ("ipv6", ["IPv6", "IPv6", "IPv4"]), ("ipv4", ["IPv4", "IPv6", "IPv4"])],
)
def test_ipv4_goes_first_where_it_is_preferred(prefer: str, found: list[str], steps: Steps) -> None:
    names = ["both.example", "six.example", "four.example"]
    words = [word for name in names for word in ("lookup", name)]
    assert [line for line in steps(*words, POSTROAD_PREFER=prefer) if line.startswith("IPv")] == found
