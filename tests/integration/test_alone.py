"""One server in a container and on a state volume; and `postroad` by itself, or as a shell completes it, starts none."""

import os
import re
import secrets
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.integration.conftest import HOSTNAME, Relays, letter, send, wait_until

LOOK = "head -1 /run/postroad/health; readlink /run/postroad/current; ls -i /run/postroad/log /run/postroad/events /run/postroad/acceptance"


@pytest.mark.parametrize("kwargs", [{}, {"init": True}, {"pid_mode": "host"}], ids=["plain", "init", "pid-host"])
def test_a_second_server_in_a_container_is_refused_and_changes_nothing(
    start_relay: Relays, kwargs: dict[str, object]
) -> None:
    relay = start_relay(kwargs=kwargs)
    before = relay.shell(LOOK)
    code, said = relay.shell("postroad run")
    assert code == 2
    assert said.startswith("postroad: a server runs in this container already")
    assert relay.shell(LOOK) == before
    assert relay.command("reload").endswith("\n")
    relay.follow(send(relay, letter()))


def test_postroad_alone_prints_help(start_relay: Relays) -> None:
    relay = start_relay(publish=False)
    before = relay.shell(LOOK)
    code, said = relay.shell("postroad")
    assert code == 2
    assert said.startswith("Usage: postroad [OPTIONS] COMMAND [ARGS]...")
    assert "  reload" in said
    assert relay.shell(LOOK) == before


def test_a_shell_completes_commands_and_starts_nothing(start_relay: Relays) -> None:
    relay = start_relay(publish=False)
    before = relay.shell(LOOK)
    script = """
    source <(_POSTROAD_COMPLETE=bash_source postroad)
    COMP_WORDS=(postroad relo) COMP_CWORD=1
    $(complete -p postroad | sed 's/.*-F \\([^ ]*\\).*/\\1/') postroad relo postroad
    echo "${COMPREPLY[@]}"
    """
    code, said = relay.get_wrapped_container().exec_run(["bash", "-c", script])
    assert (code, said) == (0, b"reload\n")
    # whatever the words are
    assert relay.shell("_POSTROAD_COMPLETE=bash_source postroad run")[1].startswith("_postroad_completion()")
    assert relay.shell(LOOK) == before


def test_a_second_container_on_a_state_volume_is_refused_until_the_first_is_gone(
    start_relay: Relays, volumes: Callable[[str], str], image: str
) -> None:
    state = volumes("shared")
    relay = start_relay(publish=False, state=state)
    name = f"postroad-test-{secrets.token_hex(4)}"
    run = ["docker", "run", f"--name={name}", f"--env=POSTROAD_HOSTNAME={HOSTNAME}", "--env=POSTROAD_DOMAINS=sender.example",
           f"--volume={state}:/var/lib/postroad", image]  # fmt: skip
    try:
        ended = subprocess.run(run, capture_output=True, text=True, timeout=60, check=False)
        assert ended.returncode == 2
        container = str(relay.get_wrapped_container().id)[:12]
        assert f"the server in container {container} has the state volume, /var/lib/postroad" in ended.stderr
        assert relay.shell("/usr/local/lib/postroad/healthcheck")[0] == 0
        relay.get_wrapped_container().kill("KILL")
        subprocess.run(["docker", "start", name], check=True, capture_output=True)
        health = ["docker", "exec", name, "/usr/local/lib/postroad/healthcheck"]
        wait_until(lambda: subprocess.run(health, capture_output=True, check=False).returncode == 0, 30)
    finally:
        subprocess.run(["docker", "rm", "--force", "--volumes", name], capture_output=True, check=False)


def test_the_script_of_running_md_completes_on_the_host(start_relay: Relays, tmp_path: Path) -> None:
    relay = start_relay(publish=False)
    (text,) = re.findall(r"```bash\n(.*?)```", Path("docs/running.md").read_text(), re.DOTALL)
    (tmp_path / "postroad").write_text(text)
    (tmp_path / "postroad").chmod(0o755)
    script = """
    source <(_POSTROAD_COMPLETE=bash_source postroad)
    COMP_WORDS=(postroad queue dr) COMP_CWORD=2
    $(complete -p postroad | sed 's/.*-F \\([^ ]*\\).*/\\1/') postroad dr queue
    echo "${COMPREPLY[@]}"
    postroad check | head -1
    """
    container = str(relay.get_wrapped_container().id)
    environment = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}", "POSTROAD_CONTAINER": container}
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, env=environment, check=False)
    assert done.stdout.splitlines()[0] == "drain", done
    assert done.stdout.splitlines()[1].startswith("hostname mail.sender.example from POSTROAD_HOSTNAME")
