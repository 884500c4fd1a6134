"""From start to stop: what the container is allowed, what it keeps, what it survives, how it ends."""

import errno
import json
import secrets
import signal
import smtplib
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import pytest

from postroad.testing import PostroadContainer
from tests.integration.conftest import HOSTNAME, Relays, letter, send, wait_until
from tests.internet.internet import TREE, Internet

PYTHON = "/opt/postroad/venv/bin/python3"  # the signer, and the recorder
HEALTHCHECK = "/usr/local/lib/postroad/healthcheck"
LABELLED = [f"--label={name}={value}" for name, value in TREE.items()]
Names = Callable[[str], str]


def attributes(relay: PostroadContainer) -> dict[str, Any]:
    container = relay.get_wrapped_container()
    container.reload()
    return dict(container.attrs)


def pids(relay: PostroadContainer) -> list[int]:
    """The supervisor's, the signer's, sendmail's, the front's."""
    return [int(pid) for pid in relay.shell("head -n 1 /run/postroad/health")[1].split()[1:]]


def notices(relay: PostroadContainer) -> str:
    return "\n".join(event["message"] for event in relay.events() if event["event"] == "notice")


def once(image: str, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the image to its end without any privileges or a network."""
    flags = [f"--env={key}={value}" for key, value in environment.items()]
    return subprocess.run(
        ["docker", "run", "--rm", "--network=none", "--read-only", "--cap-drop=ALL", "--security-opt=no-new-privileges",
         "--tmpfs=/run/postroad:mode=0700,uid=2525,gid=2525", "--tmpfs=/tmp", *flags, image, *words],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip


def test_no_privileges(relay: PostroadContainer) -> None:
    inspected = attributes(relay)
    assert inspected["Config"]["User"] == "2525:2525"
    assert inspected["HostConfig"]["ReadonlyRootfs"]
    assert inspected["HostConfig"]["CapDrop"] == ["ALL"]
    _, status = relay.shell("cat /proc/[0-9]*/status")
    uids = {line.split()[1] for line in status.splitlines() if line.startswith("Uid:")}
    assert uids == {"2525"}
    assert {line.split()[1] for line in status.splitlines() if line.startswith("CapEff:")} == {"0" * 16}
    assert relay.shell("touch /etc/x")[0] != 0


def test_the_image_has_no_compiler_perl_or_package_manager(relay: PostroadContainer) -> None:
    assert relay.shell("command -v perl gcc cc apt-get pip uv make")[1] == ""
    assert relay.shell("find / -xdev -perm /6000 -type f 2>/dev/null")[1] == ""


def test_compose_gives_the_same_protection(image: str) -> None:
    service = json.loads(
        subprocess.run(
            ["docker", "compose", "-f", "compose.yaml", "config", "--format", "json"], capture_output=True, check=True
        ).stdout
    )["services"]["postroad"]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert "ports" not in service


def test_health_notices_a_dead_sendmail_and_a_dead_signer(start_relay: Relays) -> None:
    relay = start_relay()
    assert relay.shell(HEALTHCHECK) == (0, "")
    before = len(relay.log().splitlines())
    assert relay.shell(HEALTHCHECK)[0] == 0
    assert len(relay.log().splitlines()) == before, "the health check is seen in the log"
    for position in (1, 2):
        # while the supervisor is stopped it can't see its daemon go, so the check alone has to
        relay.get_wrapped_container().kill(signal.SIGSTOP)
        relay.shell(f"kill -9 {pids(relay)[position]}")
        wait_until(lambda: relay.shell(HEALTHCHECK)[0] == 1)
        relay.get_wrapped_container().kill(signal.SIGCONT)
        wait_until(lambda: relay.shell(HEALTHCHECK)[0] == 0)


@pytest.mark.parametrize("position", [1, 2, 3])
def test_a_killed_daemon_is_started_again(position: int, start_relay: Relays, internet: Internet) -> None:
    relay = start_relay()
    old = pids(relay)
    relay.shell(f"kill -9 {old[position]}")
    wait_until(lambda: "runs again" in notices(relay) and pids(relay)[position] not in {0, old[position]})
    assert "killed by SIGKILL" in notices(relay)
    assert internet.wait_for_message(send(relay, letter())).verdict("dkim") == "pass"


def test_a_daemon_that_keeps_dying_ends_the_container(start_relay: Relays) -> None:
    relay = start_relay()
    relay.shell("mv /run/postroad/current/signer.json /run/postroad/gone; kill -9 " + str(pids(relay)[1]))
    wait_until(lambda: attributes(relay)["State"]["Status"] == "exited", timeout=90)
    assert attributes(relay)["State"]["ExitCode"] == 1
    assert "giving up" in notices(relay)


def test_while_the_signer_hangs_mail_is_put_off(start_relay: Relays, internet: Internet) -> None:
    relay = start_relay()
    relay.shell(f"kill -STOP {pids(relay)[1]}")
    with smtplib.SMTP(relay.host, relay.port, timeout=90) as smtp:
        with pytest.raises(smtplib.SMTPResponseException) as refused:
            smtp.send_message(letter())
        assert refused.value.smtp_code == 451
    relay.shell(f"kill -CONT {pids(relay)[1]}")
    assert internet.wait_for_message(send(relay, letter())).verdict("dkim") == "pass"


def test_without_the_signer_mail_is_put_off_and_never_sent_unsigned(start_relay: Relays, internet: Internet) -> None:
    relay = start_relay()
    with smtplib.SMTP(relay.host, relay.port, timeout=20) as smtp:
        relay.get_wrapped_container().kill(signal.SIGSTOP)  # the supervisor: nothing is started again
        relay.shell(f"kill -9 {pids(relay)[1]}")
        with pytest.raises(smtplib.SMTPResponseException) as refused:
            smtp.send_message(letter())
        assert refused.value.smtp_code == 451
    with pytest.raises(smtplib.SMTPResponseException) as refused:
        send(relay, letter())
    assert refused.value.smtp_code == 451
    relay.get_wrapped_container().kill(signal.SIGCONT)
    wait_until(lambda: "signer runs again" in notices(relay))
    assert internet.wait_for_message(send(relay, letter())).verdict("dkim") == "pass"


def test_without_its_key_mail_is_put_off(start_relay: Relays) -> None:
    relay = start_relay()
    relay.shell("rm /run/postroad/current/dkim/*.private")
    relay.shell(f"kill -9 {pids(relay)[1]}")  # what it has read it keeps
    # it comes again, and ends again: until then mail is put off for want of any signer
    wait_until(lambda: any("signer: can't start" in event.get("message", "") for event in relay.events()))
    with pytest.raises(smtplib.SMTPResponseException) as refused:
        send(relay, letter())
    assert refused.value.smtp_code == 451


def test_the_queue_outlives_the_container_and_the_mx_s_absence(
    start_relay: Relays, internet: Internet, volumes: Names
) -> None:
    keep: dict[str, Any] = {"queue": volumes("queue"), "state": volumes("state")}
    first = start_relay(delivery={"queue": {"retry": "2s"}}, **keep)
    key = first.dkim_records()
    internet.mx.refuse()
    try:
        message_id = send(first, letter())
        first.wait_for(message_id, "deferred")
        first.get_wrapped_container().kill()
        second = start_relay(delivery={"queue": {"retry": "2s"}}, **keep)
        assert second.dkim_records() == key, "the key was not kept"
    finally:
        internet.mx.accept()
    received = internet.wait_for_message(message_id, timeout=60)
    assert received.verdict("dkim") == "pass"


def test_stops_cleanly_in_under_ten_seconds(start_relay: Relays) -> None:
    relay = start_relay()
    with smtplib.SMTP(relay.host, relay.port, timeout=20) as idle:
        idle.ehlo()
        began = time.monotonic()
        relay.get_wrapped_container().stop(timeout=20)
        assert time.monotonic() - began < 10
    assert attributes(relay)["State"]["ExitCode"] == 0
    kinds = [event["event"] for event in relay.events()]
    assert "stopped" in kinds
    assert relay.events()[-1]["message"] == "stopped"


def test_a_delivery_under_way_is_finished_before_the_stop(start_relay: Relays, internet: Internet) -> None:
    relay = start_relay()
    internet.mx.pause()
    try:
        message_id = send(relay, letter())
        relay.get_wrapped_container().kill(signal.SIGTERM)
        wait_until(lambda: "stopping" in notices(relay))
        assert attributes(relay)["State"]["Running"]
    finally:
        internet.mx.unpause()
    internet.wait_for_message(message_id)
    wait_until(lambda: not attributes(relay)["State"]["Running"])
    assert attributes(relay)["State"]["ExitCode"] == 0


def test_ready_within_two_seconds_with_and_without_a_host_name(image: str, start_relay: Relays) -> None:
    for hostname in (None, HOSTNAME):
        relay = start_relay(kwargs={"hostname": hostname})
        (told,) = [line for line in notices(relay).splitlines() if line.startswith("ready after")]
        # not a matter of the machine's speed: what this guards against is sendmail's sleep of 60 s
        assert float(told.split()[2]) < 20


def test_a_port_goes_from_one_listener_to_another_and_back(start_relay: Relays, tmp_path: Any) -> None:
    path = tmp_path / "config.yaml"
    users = "clients: {users: [{name: app, password_file: /etc/postroad/password}]}\n"
    front = f"{users}listeners: {{smtp: 587, submission: null, submissions: null}}\n"
    both = f"{users}listeners: {{smtp: 25, submission: 587, submissions: null}}\n"
    (tmp_path / "password").write_text("a password")
    path.write_text(front)
    for each in (path, tmp_path / "password"):
        each.chmod(0o644)
    tmp_path.chmod(0o755)
    relay = start_relay(publish=False, mounts={str(tmp_path): "/etc/postroad"})

    def is_submission() -> bool:
        with smtplib.SMTP(relay.host, relay.port_of("submission"), timeout=20) as smtp:
            smtp.ehlo()
            return smtp.has_extn("starttls")  # AUTH comes within TLS alone, and port 25 has neither

    assert not is_submission()
    for text, wanted in ((both, True), (front, False), (both, True)):
        path.write_text(text)
        assert relay.command("reload").endswith("reloaded\n")
        assert is_submission() is wanted
    send(relay, letter())


def test_reload_puts_a_change_in_force_and_names_it(start_relay: Relays, tmp_path: Any) -> None:
    path = tmp_path / "config.yaml"
    path.write_text("limits: {recipients_per_message: 5}\n")
    path.chmod(0o644)
    tmp_path.chmod(0o755)
    relay = start_relay(mounts={str(path): "/etc/postroad/config.yaml"})
    path.write_text("limits: {recipients_per_message: 2, message_size: 1MiB}\n")
    changed = 'limits.message_size: "25MiB" -> "1MiB"\nlimits.recipients_per_message: 5 -> 2\n'
    assert relay.command("reload") == f"{changed}reloaded\n"
    assert "limits.recipients_per_message: 5 -> 2" in notices(relay)
    assert relay.command("reload") == "reloaded: nothing changed\n"
    with smtplib.SMTP(relay.host, relay.port, timeout=20) as smtp:
        smtp.ehlo()
        assert smtp.esmtp_features["size"] == str(2**20)
        refused = smtp.sendmail("app@sender.example", [f"u{n}@rcpt.example" for n in range(3)], letter().as_string())
    assert [code for code, _ in refused.values()] == [452]


COMMAND = "for each in /proc/[0-9]*; do tr '\\0' ' ' <$each/cmdline | grep -q ' reload $' && echo ${each#/proc/}; done"
"""Prints the process id of ``postroad reload``."""


def looks(relay: PostroadContainer, pid: int, times: int = 30) -> None:
    """Wait until a process has slept and woken up so often: it has looked at what it waits for."""

    def woken() -> int:
        return int(relay.shell(f"sed -n 's/^voluntary_ctxt_switches:\\s*//p' /proc/{pid}/status")[1])

    enough = woken() + times
    wait_until(lambda: woken() >= enough, timeout=60)


def test_a_reload_is_through_when_sendmail_listens_anew(start_relay: Relays) -> None:
    relay = start_relay(publish=False)
    sendmail = pids(relay)[-2]
    relay.shell(f"kill -STOP {sendmail}")
    relay.get_wrapped_container().kill(signal.SIGHUP)
    wait_until(lambda: relay.shell("readlink /run/postroad/current")[1].strip() == "gen-2")
    looks(relay, 1)  # sendmail's sockets still listen, by the old configuration
    assert "reloaded" not in notices(relay)
    relay.shell(f"kill -CONT {sendmail}")
    wait_until(lambda: "reloaded" in notices(relay))


def test_a_failed_reload_keeps_what_is_in_force(start_relay: Relays, tmp_path: Any, internet: Internet) -> None:
    path = tmp_path / "config.yaml"
    path.write_text("log: {format: json}\n")
    path.chmod(0o644)
    tmp_path.chmod(0o755)
    relay = start_relay(mounts={str(path): "/etc/postroad/config.yaml"})
    before = pids(relay)
    path.write_text("limits: {recipient_per_message: 2}\n")
    relay.get_wrapped_container().kill(signal.SIGHUP)
    wait_until(lambda: "reload failed" in notices(relay))
    assert "did you mean" in notices(relay)
    path.write_text('sendmail: {local_config: "Rbroken"}\n')
    relay.get_wrapped_container().kill(signal.SIGHUP)
    wait_until(lambda: notices(relay).count("reload failed") == 2)
    assert pids(relay) == before
    assert internet.wait_for_message(send(relay, letter())).verdict("dkim") == "pass"


def config_file(folder: Any, text: str) -> Any:
    path = folder / "config.yaml"
    path.write_text(text)
    path.chmod(0o644)
    folder.chmod(0o755)
    return path


def daemons(relay: PostroadContainer) -> list[str]:
    """The command of each child of the supervisor's."""
    return relay.shell(
        "for p in /proc/[0-9]*; do grep -q '^PPid:.1$' $p/status && tr '\\0' ' ' < $p/cmdline | cut -d' ' -f1; done"
    )[1].split()


def test_reloads_that_come_during_a_reload_leave_one_of_each_daemon(
    start_relay: Relays, tmp_path: Any, internet: Internet
) -> None:
    path = config_file(tmp_path, "dkim: {enabled: false}\n")
    relay = start_relay(mounts={str(path): "/etc/postroad/config.yaml"})
    path.write_text("dkim: {enabled: true}\n")
    while "reloaded (" not in notices(relay):
        relay.get_wrapped_container().kill(signal.SIGHUP)
    relay.command("reload")
    assert sorted(daemons(relay)) == [PYTHON, PYTHON, PYTHON, "sendmail:"]
    assert "Address already in use" not in relay.log()
    internet.publish_sender(HOSTNAME, relay.address, dkim=relay.dkim_records())
    assert internet.wait_for_message(send(relay, letter())).verdict("dkim") == "pass"


def test_the_reload_command_answers_for_its_own_reload_and_not_for_one_under_way(start_relay: Relays) -> None:
    relay = start_relay(publish=False, dkim={"enabled": False})
    supervisor, _, sendmail, _ = pids(relay)
    current = relay.shell("readlink /run/postroad/current")[1]
    relay.shell(f"kill -STOP {sendmail}")  # the first reload has to wait for it
    relay.shell(f"kill -HUP {supervisor}")
    wait_until(lambda: relay.shell("readlink /run/postroad/current")[1] != current)
    relay.shell("postroad reload > /tmp/said 2>&1 &")

    def asking() -> str:
        return relay.shell(COMMAND)[1].strip()

    looks(relay, int(wait_until(asking)))
    assert "reloaded" not in relay.shell("cat /tmp/said")[1]
    relay.shell(f"kill -CONT {sendmail}")
    wait_until(lambda: relay.shell("cat /tmp/said")[1].endswith("reloaded: nothing changed\n"), timeout=60)
    assert notices(relay).count("reloaded (") == 2
    assert relay.shell(HEALTHCHECK)[0] == 0


def test_the_reload_command_returns_when_the_configuration_is_in_force(start_relay: Relays, tmp_path: Any) -> None:
    path = config_file(tmp_path, f"hostname: {HOSTNAME}\n")
    relay = start_relay(mounts={str(path): "/etc/postroad/config.yaml"}, hostname=None)
    relay.command("reload")
    path.write_text("dkim: {enabled: false}\nhostname: new.sender.example\n")
    assert relay.command("reload").splitlines() == [
        "dkim.enabled: true -> false",
        'hostname: "mail.sender.example" -> "new.sender.example"',
        "reloaded",
    ]
    # the recorder, which no mail waits for, is started anew a moment later
    wait_until(lambda: sorted(daemons(relay)) == [PYTHON, PYTHON, PYTHON, "sendmail:"])
    with smtplib.SMTP(relay.host, relay.port, timeout=20) as smtp:
        assert smtp.ehlo()[1].startswith(b"new.sender.example ")
    path.write_text("limits: {recipient_per_message: 2}\n")
    began = time.monotonic()
    code, said = relay.shell("exec postroad reload")
    assert (code, "did you mean" in said) == (2, True)
    path.write_text('hostname: new.sender.example\nsendmail: {local_config: "Rbroken"}\n')
    code, said = relay.shell("exec postroad reload")
    assert (code, "stays" in said) == (1, True)
    assert time.monotonic() - began < 30


def test_a_domain_that_a_reload_adds_is_signed_at_once(start_relay: Relays, tmp_path: Any, internet: Internet) -> None:
    path = config_file(tmp_path, "domains: [sender.example]\n")
    relay = start_relay(mounts={str(path): "/etc/postroad/config.yaml"}, domains=None)
    path.write_text("domains: [sender.example, rcpt.example]\n")
    relay.command("reload")
    internet.publish_sender(HOSTNAME, relay.address, dkim=relay.dkim_records())
    received = internet.wait_for_message(send(relay, letter(From="a@rcpt.example"), from_addr="a@rcpt.example"))
    assert received.verdict("dkim") == "pass"
    assert "d=rcpt.example;" in str(received.message["DKIM-Signature"])


def test_a_reload_to_a_port_that_another_has_is_taken_back(start_relay: Relays, tmp_path: Any) -> None:
    path = config_file(tmp_path, "listeners: {smtp: 25}\n")
    relay = start_relay(mounts={str(path): "/etc/postroad/config.yaml"})
    holder = "import socket,time; s = socket.create_server(('', 2526)); open('/tmp/held', 'w'); time.sleep(600)"
    relay.get_wrapped_container().exec_run(["python3", "-c", holder], detach=True)
    wait_until(lambda: relay.shell("test -e /tmp/held")[0] == 0)
    path.write_text("listeners: {smtp: 2526}\n")
    relay.get_wrapped_container().kill(signal.SIGHUP)
    wait_until(lambda: "comes back in force" in notices(relay), timeout=90)
    wait_until(lambda: relay.shell(HEALTHCHECK)[0] == 0, timeout=30)
    send(relay, letter())


def test_a_full_tmpfs_ends_nothing(start_relay: Relays, internet: Internet) -> None:
    relay = start_relay(tmpfs={"/run/postroad": "mode=0700,uid=2525,gid=2525,size=1m"})
    relay.shell("dd if=/dev/zero of=/run/postroad/fill bs=1k")
    old = pids(relay)
    relay.get_wrapped_container().kill(signal.SIGHUP)
    wait_until(lambda: "No space left" in notices(relay))
    code, said = relay.shell("exec postroad reload 2>&1")  # answered, and not after a minute of silence
    assert code != 0
    assert "the configuration in force stays; see the container's log" in said
    assert relay.shell(HEALTHCHECK) == (0, "")
    relay.shell(f"kill -9 {old[1]}")
    wait_until(lambda: "signer runs again" in notices(relay))
    assert internet.wait_for_message(send(relay, letter())).verdict("dkim") == "pass"
    relay.get_wrapped_container().stop(timeout=20)
    assert attributes(relay)["State"]["ExitCode"] == 0
    assert "Traceback" not in relay.log()


@pytest.mark.long
def test_the_limit_of_processes_is_said_in_the_log_and_in_its_health(start_relay: Relays, internet: Internet) -> None:
    relay = start_relay(kwargs={"pids_limit": 40}, doctor={"at_start": False})
    asked = f"http://{relay.address}:8025/readyz"

    def degraded() -> str:
        try:
            urllib.request.urlopen(asked, timeout=10).close()
        except urllib.error.HTTPError as error:
            return error.read().decode()
        return ""

    with socket.socket() as client:  # it opens a little after the mail's ports
        wait_until(lambda: client.connect_ex((relay.address, 8025)) in {0, errno.EISCONN})
    assert degraded() == ""
    with ExitStack() as stack:
        # not clients: of them no listener lets in more than the limit bears
        relay.shell("for each in $(seq 40); do sleep 20 & done >/dev/null 2>&1")
        # to 587: at 25 the front takes it, which costs no process
        for _ in range(5):  # the shell has left a place or two
            stack.enter_context(socket.create_connection((relay.address, 587), timeout=20))
        answer = json.loads(wait_until(degraded, timeout=30))
        wait_until(lambda: "cannot fork" in relay.log())
    assert answer == {"status": "degraded", "reasons": ["the limit of processes (pids) is reached: it is 40"]}
    assert [line for line in relay.log().splitlines() if not line.startswith("{")] == []
    internet.wait_for_message(send(relay, letter()))
    wait_until(lambda: not degraded(), timeout=180)  # asked without a process more
    assert relay.shell(HEALTHCHECK) == (0, "")


def test_a_stop_right_after_the_start_is_not_lost(image: str) -> None:
    name = f"postroad-test-early-{secrets.token_hex(3)}"
    run = ["docker", "run", "--detach", f"--name={name}", *LABELLED,
           "--env=POSTROAD_HOSTNAME=mail.sender.example", "--env=POSTROAD_DOMAINS=sender.example", image]  # fmt: skip
    subprocess.run(run, check=True, capture_output=True)
    try:
        subprocess.run(["docker", "stop", "--time=30", name], check=True, capture_output=True)
        state = subprocess.run(
            ["docker", "inspect", "--format={{.State.ExitCode}}", name], check=True, capture_output=True
        )
        assert state.stdout.strip() == b"0"
    finally:
        subprocess.run(["docker", "rm", "--force", "--volumes", name], check=True, capture_output=True)


def test_stops_in_time_where_nobody_reads_what_it_prints(image: str) -> None:
    name = f"postroad-test-unread-{secrets.token_hex(3)}"
    run = ["docker", "run", "--detach", f"--name={name}", *LABELLED,
           "--env=POSTROAD_HOSTNAME=mail.sender.example", "--env=POSTROAD_DOMAINS=sender.example",
           "--entrypoint=sh", image, "-c", "mkfifo /tmp/out && exec postroad run > /tmp/out"]  # fmt: skip
    fill = "import fcntl, os, time; os.set_blocking(f := os.open('/tmp/out', os.O_RDWR), False); fcntl.fcntl(f, 1031, 4096)\ntry:\n  while True: os.write(f, b'x')\nexcept BlockingIOError: time.sleep(600)"
    subprocess.run(run, check=True, capture_output=True)
    try:
        subprocess.run(["docker", "exec", "--detach", name, "python3", "-c", fill], check=True)
        healthy = ["docker", "exec", name, HEALTHCHECK]
        wait_until(lambda: subprocess.run(healthy, check=False, capture_output=True).returncode == 0)
        subprocess.run(["docker", "stop", "--time=25", name], check=True, capture_output=True)
        state = subprocess.run(
            ["docker", "inspect", "--format={{.State.ExitCode}}", name], check=True, capture_output=True
        )
        assert state.stdout.strip() == b"0"
    finally:
        subprocess.run(["docker", "rm", "--force", "--volumes", name], check=True, capture_output=True)


@pytest.mark.parametrize(
    "flags",
    [
        ["--read-only"],
        ["--user=1000:1000"],
        ["--user=1000:1000", "--tmpfs=/run/postroad:mode=0700,uid=1000,gid=1000"],
        ["--read-only", "--tmpfs=/run/postroad:mode=0700,uid=2525,gid=2525"],
        ["--read-only", "--tmpfs=/run/postroad:mode=0700,uid=2525,gid=2525,size=64k", "--tmpfs=/tmp"],
    ],
    ids=["no-tmpfs", "other-user", "other-user-with-tmpfs", "no-tmp", "small-tmpfs"],
)
def test_an_unusable_place_ends_with_code_2(flags: list[str], image: str) -> None:
    ended = subprocess.run(
        ["docker", "run", "--rm", *flags, "--env=POSTROAD_HOSTNAME=mail.sender.example",
         "--env=POSTROAD_DOMAINS=sender.example", image],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert ended.returncode == 2, ended.stderr
    assert "can't be written" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_files_that_can_t_be_written_are_told_of_in_one_line(image: str) -> None:
    ended = once(image, "render", "--output", "/etc/x", POSTROAD_HOSTNAME=HOSTNAME, POSTROAD_DOMAINS="sender.example")
    assert ended.returncode == 2
    assert "/etc/x/" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_a_key_that_is_not_there_yet_is_told_of(image: str) -> None:
    ended = once(image, "dkim", "list", POSTROAD_HOSTNAME=HOSTNAME, POSTROAD_DOMAINS="sender.example")
    assert ended.returncode == 2
    assert "the server makes it at its start; run this in the server's container" in ended.stderr


def test_networks_that_overlap_are_taken(start_relay: Relays) -> None:
    relay = start_relay(clients={"networks": ["auto", "172.16.0.0/12", "192.168.0.0/16", "10.0.0.0/8"]})
    send(relay, letter())


def test_bad_configuration_ends_with_code_2_and_every_reason(image: str) -> None:
    ended = once(image, POSTROAD_HOSTNAME="mail", POSTROAD_DOMAIN="sender.example")
    assert ended.returncode == 2
    assert "At 'hostname'" in ended.stderr
    assert "POSTROAD_DOMAINS" in ended.stderr
    assert "Traceback" not in ended.stderr
    assert ended.stdout == ""


@pytest.mark.parametrize(
    ("what", "flag", "reason"),
    [
        ("a queue that can't be written", "--tmpfs=/var/spool/mqueue:mode=0755,uid=0", "/var/spool/mqueue"),
        ("a state volume that can't be written", "--tmpfs=/var/lib/postroad:mode=0755,uid=0", "/var/lib/postroad"),
    ],
)
def test_an_unusable_volume_ends_with_code_2(what: str, flag: str, reason: str, image: str) -> None:
    ended = subprocess.run(
        ["docker", "run", "--rm", "--read-only", "--tmpfs=/run/postroad:mode=0700,uid=2525,gid=2525", "--tmpfs=/tmp", flag,
         "--env=POSTROAD_HOSTNAME=mail.sender.example", "--env=POSTROAD_DOMAINS=sender.example", image],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert ended.returncode == 2
    assert reason in ended.stderr
    assert "Traceback" not in ended.stderr


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        ("echo nonsense", "is not a private key"),
        ("openssl genpkey -quiet -algorithm RSA -pkeyopt rsa_keygen_bits:512", "has 512 bits"),
        ("openssl genpkey -algorithm ED25519", "is not an RSA key"),
        ("true", "is empty"),
    ],
)
def test_an_unfit_key_ends_with_code_2_before_anything_listens(
    make: str, reason: str, image: str, volumes: Names
) -> None:
    state = volumes("unfit")
    folder = "/var/lib/postroad/dkim/sender.example"
    base = ["docker", "run", "--rm", "--env=POSTROAD_HOSTNAME=mail.sender.example", "--env=POSTROAD_DOMAINS=sender.example",
            f"--volume={state}:/var/lib/postroad", "--tmpfs=/run/postroad:mode=0700,uid=2525,gid=2525"]  # fmt: skip
    script = f"umask 077; mkdir -p {folder}; {make} > {folder}/postroad.private"
    subprocess.run([*base, "--entrypoint=sh", image, "-c", script], check=True)
    ended = subprocess.run([*base, image], capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == 2
    assert reason in ended.stderr


def test_a_key_that_others_can_read_is_refused(image: str, volumes: Names) -> None:
    state = volumes("open")
    base = ["docker", "run", "--rm", "--env=POSTROAD_HOSTNAME=mail.sender.example", "--env=POSTROAD_DOMAINS=sender.example",
            f"--volume={state}:/var/lib/postroad", "--tmpfs=/run/postroad:mode=0700,uid=2525,gid=2525"]  # fmt: skip
    script = "d=/var/lib/postroad/dkim/sender.example; mkdir -p $d; openssl genrsa -out $d/postroad.private 2048; chmod 644 $d/*"
    subprocess.run([*base, "--entrypoint=sh", image, "-c", script], check=True, capture_output=True)
    ended = subprocess.run([*base, image], capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == 2
    assert "can be read by others (mode 0644)" in ended.stderr


def test_a_file_that_an_editor_replaced_under_its_bind_mount_is_told_of(start_relay: Relays, tmp_path: Any) -> None:
    path = config_file(tmp_path, "log: {format: json}\n")
    relay = start_relay(publish=False, mounts={str(path): "/etc/postroad/config.yaml"})
    saved = tmp_path / "saved"
    saved.write_text("limits: {recipients_per_message: 2}\n")
    saved.chmod(0o644)
    saved.replace(path)  # as editors save a file
    said = relay.command("reload").splitlines()  # of two streams, in no order
    assert any(line.startswith("warning: /etc/postroad/config.yaml was replaced on the host") for line in said)
    assert "reloaded: nothing changed" in said
    assert "warning: /etc/postroad/config.yaml was replaced" in relay.command("check")
    relay.get_wrapped_container().restart(timeout=15)  # what the line says to do
    wait_until(lambda: relay.shell(HEALTHCHECK)[0] == 0, timeout=30)
    assert '"recipients_per_message": 2' in relay.command("check", "--json")
    assert "was replaced" not in relay.command("check")
