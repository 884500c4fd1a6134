"""``make oracle``: the doctor beside receivers' own programs. Exit code 1 where they disagree and docs/doctor.md is silent.

    python -m tests.oracle [--records N] [--seed N] [--states WORDS]

First each state of the DNS with one real message, then the SPF evaluator alone on generated records.
"""

import argparse
import json
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Sequence

from postroad.dns.spf_check import Result
from tests.internet.host import Host
from tests.internet.internet import build_image
from tests.oracle import pyspf, spf_records
from tests.oracle.explained import EXPLAINED
from tests.oracle.ours import judge
from tests.oracle.states import STATES
from tests.oracle.table import compare, world


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--records", type=int, default=5000)
    parser.add_argument("--seed", type=int, default=7208)
    parser.add_argument("--states", default="", help="only those whose name holds these words")
    given = parser.parse_args()
    build_image()
    began = time.monotonic()
    with world() as (internet, host):
        chosen = [state for state in STATES if given.states in state.name]
        rows = compare(internet, host, chosen)
        wrong = 0
        for row in rows:
            reason = EXPLAINED.get(row.state.name, "")
            wrong += not row.agrees and not reason
            mark = "agree" if row.agrees else "known" if reason else "WRONG"
            print(f"{mark} {row}{f' | {reason}' if not row.agrees and reason else ''}")
        print(
            f"{len(rows)} states in {time.monotonic() - began:.0f} s: {sum(row.agrees for row in rows)} agree, {wrong} wrong"
        )
        bad = generated(host, given.records, given.seed)
    return 1 if wrong or bad else 0


def generated(host: Host, count: int, seed: int) -> int:
    """The evaluator, pyspf and libspf2 on generated records; the number of disagreements that are not ours to explain."""
    judged = judge(count, seed)
    zone, cases, ours = judged.zone, judged.cases, judged.verdicts
    theirs = list(zip(pyspf.verdicts(zone, cases), libspf2(host, zone, cases), strict=True))
    differ: Counter[str] = Counter()
    passed: Counter[str] = Counter()
    bad = 0
    for (address, domain), mine, pair in zip(cases, ours, theirs, strict=True):
        for who, verdict in zip(("pyspf", "libspf2"), pair, strict=True):
            error = mine.result is Result.PASS and verdict == Result.PERMERROR
            passed[f"{who} calls an error what we let pass {'with' if mine.disputed else 'without'} a warning"] += error
        if {mine.result.value, *pair} == {mine.result.value}:
            continue
        if mine.result is Result.PERMERROR:
            differ["we say permerror, and not all of them"] += 1
        elif mine.disputed:
            differ["they disagree, and we warn"] += 1
        else:
            bad += 1
            print(f"WRONG {address} {zone[domain]['TXT'][0]!r}: {mine.result}, pyspf {pair[0]}, libspf2 {pair[1]}")
    print(
        f"{count} records for {len(spf_records.CLIENTS)} clients each, seed {seed}: {Counter(str(each.result) for each in ours)}"
    )
    for what, number in (differ + passed).items():
        print(f"  {number} times {what}")
    print(f"  {bad} times we disagree without a word")
    return bad


def libspf2(host: Host, zone: object, cases: Sequence[tuple[str, str]]) -> list[str]:
    """What libspf2 says, in the container that has it."""
    script = ["docker", "exec", "-i", host.name, "python3", "/usr/local/lib/libspf2.py"]
    given = json.dumps({"zone": zone, "cases": cases}).encode()
    done = subprocess.run(script, input=given, capture_output=True, check=True, timeout=300)
    found: list[str] = json.loads(done.stdout)
    return found


if __name__ == "__main__":
    sys.exit(main())
