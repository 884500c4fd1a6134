"""What the image does not hold, and what the container can do without."""

import json
import secrets
import subprocess
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from postroad.testing import PostroadContainer
from tests.integration.conftest import HOSTNAME, Relays, letter, send
from tests.internet.internet import TREE, Internet

TOOLS = {"apt", "apt-get", "as", "c++", "cc", "cpp", "curl", "g++", "gcc", "ld", "make", "nc", "perl", "pip", "pip3", "ssh",
         "su", "sudo", "mount", "tcc", "uv", "wget"}  # fmt: skip


@pytest.fixture(scope="module")
def members(image: str) -> list[tarfile.TarInfo]:
    """All that is in the image, whoever may see it in a container."""
    labels = [f"--label={name}={value}" for name, value in TREE.items()]
    made = subprocess.run(["docker", "create", *labels, image], capture_output=True, text=True, check=True)
    try:
        with subprocess.Popen(["docker", "export", made.stdout.strip()], stdout=subprocess.PIPE) as export:
            assert export.stdout
            with tarfile.open(fileobj=export.stdout, mode="r|") as tar:
                found = list(tar)
            export.stdout.read()
    finally:
        subprocess.run(["docker", "rm", "--volumes", made.stdout.strip()], check=True, capture_output=True)
    assert len(found) > 1000
    return found


def test_nothing_in_the_image_gives_privileges(members: list[tarfile.TarInfo]) -> None:
    assert [each.name for each in members if each.isfile() and each.mode & 0o6000] == []
    assert [each.name for each in members if any("security.capability" in key for key in each.pax_headers)] == []


def test_nothing_in_the_image_can_be_written_by_everybody(members: list[tarfile.TarInfo]) -> None:
    # links have no mode of their own, sticky folders let nobody touch what is others', and /dev is Docker's when it runs
    kept = [each for each in members if (each.isfile() or each.isdir()) and not each.name.startswith("dev/")]
    assert [each.name for each in kept if each.mode & 0o002 and not (each.isdir() and each.mode & 0o1000)] == []


def test_the_image_has_no_tool_that_fetches_builds_or_changes_users(members: list[tarfile.TarInfo]) -> None:
    programs = {Path(each.name).name for each in members if each.mode & 0o111 and not each.isdir()}
    assert "sendmail" in programs
    assert programs & (TOOLS - {"mount", "su"}) == set()


def test_a_message_under_tight_limits(start_relay: Relays, internet: Internet) -> None:
    relay = start_relay(kwargs={"pids_limit": 100, "mem_limit": "128m", "memswap_limit": "128m"})
    assert internet.wait_for_message(send(relay, letter())).verdict("dkim") == "pass"
    container = relay.get_wrapped_container()
    container.reload()
    assert (container.attrs["HostConfig"]["PidsLimit"], container.attrs["HostConfig"]["Memory"]) == (100, 128 * 2**20)
    assert container.attrs["State"]["OOMKilled"] is False
    _, status = relay.shell("cat /proc/[0-9]*/status")
    fields = [line.split()[:2] for line in status.splitlines() if ":" in line]
    for name in ("CapInh:", "CapPrm:", "CapEff:", "CapBnd:", "CapAmb:"):
        assert {value for key, value in fields if key == name} == {"0" * 16}
    assert {value for key, value in fields if key == "NoNewPrivs:"} == {"1"}
    # the supervisor and both daemons leave no core dump, in a file or through a pipe
    _, limits = relay.shell(
        "for pid in $(head -n 1 /run/postroad/health | cut -d' ' -f2-); do grep core /proc/$pid/limits; done"
    )
    assert [line.split()[4:6] for line in limits.splitlines()] == [["1", "1"]] * 4
    assert {value for key, value in fields if key == "Seccomp:"} == {"2"}, "without Docker's filter of system calls"


def test_any_user_will_do_on_volumes_that_its_group_may_write(
    image: str, internet: Internet, volumes: Callable[[str], str]
) -> None:
    """As OpenShift runs a container: a uid of its own that /etc/passwd does not have, gid 0, and volumes of root's."""
    user, group = 1000650000, 1000650001
    relay = PostroadContainer(
        {"hostname": HOSTNAME, "domains": ["sender.example"]},
        image=image, network=internet.network, dns=[internet.dns.address], labels=TREE,
        user=f"{user}:0", group_add=[group],
    )  # fmt: skip
    relay.tmpfs.pop("/run/postroad")
    for path in ("/run/postroad", "/var/spool/mqueue", "/var/lib/postroad"):
        name = volumes("any-user")
        mode = "2777" if path == "/run/postroad" else "2775"  # an emptyDir; a disk, the group's alone
        subprocess.run(
            ["docker", "run", "--rm", "--user=0", "--network=none", f"--volume={name}:/v:nocopy", "--entrypoint=sh",
             image, "-c", f"chgrp {group} /v && chmod {mode} /v"],
            check=True, capture_output=True,
        )  # fmt: skip
        relay.with_volume_mapping(name, path, "rw,nocopy")
    with relay:
        assert relay.shell("id -u; id -g")[1].split() == [str(user), "0"]
        internet.publish_sender(HOSTNAME, relay.address, dkim=relay.dkim_records())
        received = internet.wait_for_message(send(relay, letter()))
        assert received.verdict("dkim") == "pass"
        assert "can be written by every user of this container" in relay.log()
        assert "Who are you" not in relay.log()
        assert relay.shell("postroad render --diff")[1] == ""
        # below the volumes' tops nothing is anybody else's
        _, others = relay.shell("find /run/postroad/gen-* /var/lib/postroad/*/* -perm /077 -type f ! -name '*.db'")
        assert others == ""


@pytest.mark.parametrize("user", ["123456:0", "2525:2525"])
def test_new_named_volumes_will_do_for_any_user_of_group_0(
    user: str, image: str, internet: Internet, volumes: Callable[[str], str]
) -> None:
    """Docker gives them the owner and the mode of the image's folders; the next container finds what this one left."""
    queue, state = volumes("queue"), volumes("state")
    keys = []
    for _ in range(2):
        relay = PostroadContainer(
            {"hostname": HOSTNAME, "domains": ["sender.example"]},
            image=image, network=internet.network, dns=[internet.dns.address], labels=TREE,
            user=user, queue=queue, state=state,
        )  # fmt: skip
        if user.endswith(":0"):
            del relay.tmpfs["/run/postroad"]  # which would be uid 2525's alone
            relay.with_kwargs(**{**relay._kwargs, "read_only": False})
        with relay:
            internet.publish_sender(HOSTNAME, relay.address, dkim=relay.dkim_records())
            assert internet.wait_for_message(send(relay, letter())).verdict("dkim") == "pass"
            assert "can be written by every user of this container" not in relay.log()
            keys.append(relay.dkim_records())
    assert keys[0] == keys[1]


@pytest.fixture
def secretive(start_relay: Relays, tmp_path: Path) -> tuple[PostroadContainer, list[str]]:
    """A relay with a password, and all the secrets that it has: this one, its DKIM key, its certificate's key."""
    password = secrets.token_urlsafe(24)
    (tmp_path / "app").write_text(password + "\n")
    (tmp_path / "app").chmod(0o444)
    tmp_path.chmod(0o755)
    users = [{"name": "app", "password_file": "/given/app"}]
    relay = start_relay(publish=False, clients={"users": users}, mounts={str(tmp_path): "/given"})
    _, keys = relay.shell("cat $(find /var/lib/postroad -type f)")
    lines = [line for line in keys.splitlines() if len(line) == 64]  # of PEM's base64
    assert len(lines) > 20
    return relay, [password, *lines]


def test_another_user_in_the_container_finds_no_secret(secretive: tuple[PostroadContainer, list[str]]) -> None:
    relay, hidden = secretive
    container = relay.get_wrapped_container()
    # what a process of another uid can read, other processes' command lines and environments among it
    look = (
        "import os, sys\n"
        "hidden = sys.argv[1:]\n"
        "for top in ('/etc', '/opt', '/run', '/tmp', '/var', '/proc'):\n"
        "    for folder, folders, files in os.walk(top):\n"
        "        if top == '/proc':\n"
        "            folders[:] = [each for each in folders if each.isdigit() and int(each) != os.getpid()]\n"
        "            files = [each for each in files if each in ('cmdline', 'environ')]\n"
        "        for name in files:\n"
        "            if not os.path.isfile(os.path.join(folder, name)):\n"
        "                continue\n"  # a FIFO would wait for a line
        "            try:\n"
        "                with open(os.path.join(folder, name), 'rb') as file:\n"
        "                    text = file.read()\n"
        "            except OSError:\n"
        "                continue\n"
        "            if any(each.encode() in text for each in hidden):\n"
        "                print(os.path.join(folder, name))\n"
    )
    for user, sees in (("12345:12345", False), ("2525:2525", True)):
        code, output = container.exec_run(["python3", "-c", look, *hidden], user=user)
        assert isinstance(output, bytes)
        assert code == 0, output
        assert bool(output) is sees, output.decode()  # the second shows that the search finds what is there
    container.reload()
    inspected = json.dumps(container.attrs)
    assert [each for each in hidden if each in inspected] == []
    assert [each for each in hidden if each in relay.log()] == []
