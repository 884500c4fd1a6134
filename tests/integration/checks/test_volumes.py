import json
from collections.abc import Callable
from pathlib import Path

import pytest

from postroad.checks.volumes import Mount, judge, parse
from postroad.testing import PostroadContainer
from tests.integration.conftest import Relays

GIB = 2**30
NAMED = Mount("ext4", "/var/lib/docker/volumes/queue/_data")


def checks(relay: PostroadContainer) -> list[tuple[str, str]]:
    _, text = relay.shell("postroad doctor --only volumes --json")
    return [(check["level"], check["message"]) for check in json.loads(text)["checks"]]


def test_named_volumes(start_relay: Relays, volumes: Callable[[str], str]) -> None:
    relay = start_relay(publish=False, queue=volumes("queue"), state=volumes("state"))
    assert checks(relay) == [
        ("ok", "/var/spool/mqueue is a volume with room"),
        ("ok", "/var/lib/postroad is a volume with room"),
    ]


def test_volumes_without_a_name(relay: PostroadContainer) -> None:
    assert [level for level, _ in checks(relay)] == ["warning", "warning"]


def test_a_queue_in_memory(image: str) -> None:
    memory = PostroadContainer({"hostname": "mail.sender.example", "domains": ["sender.example"]}, image=image)
    memory.tmpfs["/var/spool/mqueue"] = "mode=0700,uid=2525,gid=2525"
    with memory as relay:
        found = checks(relay)
    assert found[0] == ("error", "the queue would be lost with the container: /var/spool/mqueue is tmpfs")


@pytest.mark.parametrize(
    ("mount", "writable", "room", "part", "files", "level"),
    [
        (NAMED, True, 50 * GIB, 0.5, 10**6, "ok"),
        (NAMED, True, 50 * GIB, 0.01, None, "ok"),
        (NAMED, True, GIB // 2, 0.5, 10**6, "ok"),
        (NAMED, True, GIB // 2, 0.05, 10**6, "warning"),
        (NAMED, True, 50 * 2**20, 0.5, 10**6, "error"),
        (NAMED, True, 50 * GIB, 0.5, 5000, "warning"),
        (NAMED, True, 50 * GIB, 0.5, 10, "error"),
        (NAMED, False, 50 * GIB, 0.5, 10**6, "error"),
        (None, True, 50 * GIB, 0.5, 10**6, "error"),
        (Mount("overlay", "/"), True, 50 * GIB, 0.5, 10**6, "error"),
        (Mount("nfs4", "/export/queue"), True, 50 * GIB, 0.5, 10**6, "ok"),
    ],
)
def test_each_state(mount: Mount | None, writable: bool, room: int, part: float, files: int | None, level: str) -> None:
    finding = judge(Path("/q"), "the queue", mount, writable=writable, room=room, part=part, files=files)
    assert finding.level == level


def test_the_last_mount_of_a_point_counts() -> None:
    text = (
        "22 1 0:20 / / rw - overlay overlay rw\n"
        "30 22 8:1 /vol/q /var/spool/mqueue rw,relatime shared:1 master:2 - ext4 /dev/sda1 rw\n"
        "31 30 0:40 / /var/spool/mqueue rw - tmpfs tmpfs rw\n"
    )
    assert parse(text) == {"/": Mount("overlay", "/"), "/var/spool/mqueue": Mount("tmpfs", "/")}
