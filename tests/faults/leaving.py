"""A queue that leaves for another relay, while both are killed."""

import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

from tests.faults.account import Load, Row, settle
from tests.faults.bench import Bench, Relay, docker, wait_until
from tests.faults.model import Check, Step

PORT = 2526


def evacuate(bench: Bench, row: Row, tell: Callable[[str], None], short: bool) -> None:
    """One relay's mail waits and is handed over to another one; containers are killed; then the MX takes mail again."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        (Path(folder) / "peers").write_text("0123456789abcdef" * 4 + "\n")
        leaving, staying = (
            bench.relay(
                alias=alias,
                folders={folder: "/secrets"},
                peers={"port": PORT, "secret_file": "/secrets/peers"},
                delivery={"queue": {"retry": "4h"}},
            )
            for alias in ("relay", "staying")
        )
        bench.sink.fail(1, "421")
        load = Load(bench, ["relay"])
        try:
            tell("filling the queue")
            wait_until(lambda: load.accepted > (40 if short else 200), 60, "the load")
        finally:
            load.stop()
        times = 3 if short else 20
        while row.injected < times:
            tell(f"{row.injected}, {len(staying.queue())} of {load.accepted} at the other relay")
            _once(bench, leaving, staying)
            row.injected += 1
        for _ in range(5):
            code, said = leaving.shell(f"exec postroad queue evacuate --to staying:{PORT} --timeout 110s")
            if code == 0:
                break
        else:
            row.faults.append(f"the last evacuation ended with exit code {code}: {said[-500:]}")
        if waiting := leaving.queue():
            row.faults.append(f"{len(waiting)} wait at the relay that left")
        bench.sink.behave()
        tell("waiting for the end of every message")
        settle(row, bench, [leaving, staying], load, 120)
        if row.duplicated:
            row.faults.append(f"{row.duplicated} copies: an evacuation makes none, and nothing else was injected")


def _once(bench: Bench, leaving: Relay, staying: Relay) -> None:
    """Begin an evacuation, and kill one of them, or both, at a random moment of it."""
    words = f"exec postroad queue evacuate --to staying:{PORT} --timeout 60s"
    thread = threading.Thread(target=leaving.shell, args=(words,), daemon=True)
    thread.start()
    time.sleep(bench.rng.uniform(0.5, 3))
    for relay in bench.rng.choice([(leaving,), (staying,), (leaving, staying)]):
        docker("kill", relay.name)
    for relay in (leaving, staying):
        relay.back()
    thread.join(120)


CHECKS: list[Step] = [
    Check("evacuate", "`kill -9` of two relays while one hands its queue to the other", evacuate),
]
