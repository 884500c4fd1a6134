"""The files that a configuration names: what is said of one that can't be used, and that all of them are told."""

import os
import socket
from pathlib import Path

import pytest

from postroad.config.load import read_all
from postroad.config.model import Config
from postroad.errors import InstallError
from postroad.install.material import gather
from postroad.secrets import files as named_files


def refusal(path: Path) -> str:
    with pytest.raises(InstallError) as caught:
        named_files.read("At 'a.b'", path)
    return str(caught.value)


def test_a_file_is_read_up_to_the_limit(tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(b"123456")
    assert named_files.read("At 'a.b'", tmp_path / "secret") == b"123456"
    assert named_files.read("At 'a.b'", tmp_path / "secret", 4) == b"1234"


def test_what_is_no_file_is_told_as_what_it_is(tmp_path: Path) -> None:
    assert refusal(tmp_path / "x") == f"At 'a.b': {tmp_path}/x is not there: mount the file, or correct the key"
    (tmp_path / "folder").mkdir()
    assert refusal(tmp_path / "folder").startswith(f"At 'a.b': {tmp_path}/folder is a folder, not a file: Docker")
    os.mkfifo(tmp_path / "fifo")  # nobody writes: it must not be waited for
    assert refusal(tmp_path / "fifo") == f"At 'a.b': {tmp_path}/fifo is not a regular file: mount one"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "socket"))
        assert refusal(tmp_path / "socket") == f"At 'a.b': {tmp_path}/socket is not a regular file: mount one"


def test_all_that_is_wrong_is_told_at_once(tmp_path: Path) -> None:
    (tmp_path / "empty").write_text("\n")
    (tmp_path / "text").write_text("no key at all\n")
    (tmp_path / "folder").mkdir()
    smarthost = {"host": "smtp.example.net", "username": "app", "password_file": f"{tmp_path}/none"}
    config = Config.model_validate(
        {
            "hostname": "mail.example.com",
            "domains": [
                "example.com",
                {"name": "a.example", "dkim": {"key_file": f"{tmp_path}/text"}},
                {"name": "b.example", "dkim": {"key_file": f"{tmp_path}/none"}},
                {"name": "c.example", "dkim": {"key_file": f"{tmp_path}/empty"}},
            ],
            "tls": {"certificate_file": f"{tmp_path}/empty", "key_file": f"{tmp_path}/none"},
            "clients": {
                "users": [
                    {"name": "app", "password_file": f"{tmp_path}/empty"},
                    {"name": "shop", "password_file": f"{tmp_path}/folder"},
                ]
            },
            "delivery": {
                "routes": [{"domains": ["x.example"], "smarthost": smarthost}],
                "tls": {"ca_file": f"{tmp_path}/text"},
            },
            "events": {
                "store": "postgresql://postroad@db.example/postroad",
                "store_password_file": f"{tmp_path}/none",
                "webhooks": [
                    {
                        "name": "app",
                        "url": "https://app.example.com/",
                        "secret_file": f"{tmp_path}/empty",
                        "ca_file": f"{tmp_path}/none",
                    }
                ],
            },
        }
    )
    with pytest.raises(InstallError) as caught:
        gather(config, keep=False)
    begins = [line.partition(": ")[0] for line in str(caught.value).splitlines()]
    assert begins == [
        "At 'domains[1].dkim.key_file'",
        "At 'domains[2].dkim.key_file'",
        "At 'domains[3].dkim.key_file'",
        "At 'tls.certificate_file'",
        "At 'tls.key_file'",
        "At 'clients.users[0].password_file'",
        "At 'clients.users[1].password_file'",
        "At 'delivery.routes[0].smarthost.password_file'",
        "At 'delivery.tls.ca_file'",
        "At 'events.webhooks[0].secret_file'",
        "At 'events.webhooks[0].ca_file'",
        "At 'events.store_password_file'",
    ]


def test_a_file_that_was_replaced_under_its_mount_is_told(tmp_path: Path) -> None:
    kept, gone = tmp_path / "kept", tmp_path / "gone"
    kept.write_text("")
    gone.write_text("")
    with gone.open() as file:
        gone.unlink()
        descriptor = Path(f"/proc/self/fd/{file.fileno()}")  # as a bind mount holds it: a file without a name
        (warning,) = named_files.replaced([kept, descriptor, tmp_path / "never"])
    assert warning.startswith(f"{descriptor} was replaced on the host")
    assert "docker compose restart" in warning


MOUNTINFO = """\
22 1 8:1 / / rw,relatime - ext4 /dev/sda1 rw
30 22 0:40 / /run/postroad rw - tmpfs tmpfs rw
31 22 8:1 /var/lib/docker/volumes/mail_state/_data /var/lib/postroad rw - ext4 /dev/sda1 rw
32 22 8:1 /srv/queue /var/spool/mqueue rw master:1 - ext4 /dev/sda1 rw
"""


def test_what_is_mounted_where(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mountinfo").write_text(MOUNTINFO)
    monkeypatch.setattr(named_files, "MOUNTS", tmp_path / "mountinfo")
    assert named_files.mounted(Path("/run/postroad")) == "tmpfs"
    assert named_files.mounted(Path("/var/lib/postroad/dkim")) == "/var/lib/docker/volumes/mail_state/_data"
    assert named_files.mounted(Path("/var/spool/mqueue")) == "/srv/queue"
    assert named_files.mounted(Path("/etc/postroad")) == ""


def test_the_sources_of_values_are_named(tmp_path: Path) -> None:
    file, secrets = tmp_path / "config.yaml", tmp_path / "secrets"
    secrets.mkdir()
    file.write_text("# mine\nhostname: mail.mine.example\ndomains:\n  - mine.example\n")
    loaded = read_all(file, {}, secrets)
    assert loaded.source("hostname") == f"{file}, line 2"
    assert loaded.source("log") == "its default"
    assert loaded.files == (file,)
    (secrets / "postroad_domains").write_text("secret.example\n")
    loaded = read_all(file, {"POSTROAD_HOSTNAME": "mail.example.com"}, secrets)
    assert loaded.source("hostname") == "POSTROAD_HOSTNAME in the environment"
    assert loaded.source("domains") == f"{secrets}/postroad_domains"
    assert loaded.files == (file, secrets / "postroad_domains")
    (tmp_path / "name").write_text("mail.other.example\n")
    loaded = read_all(file, {"POSTROAD_HOSTNAME_FILE": f"{tmp_path}/name"}, secrets)
    assert loaded.source("hostname") == f"POSTROAD_HOSTNAME_FILE, {tmp_path}/name"
    assert tmp_path / "name" in loaded.files
