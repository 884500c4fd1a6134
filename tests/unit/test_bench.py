"""The benchmark's arithmetic and its report: what counts as a measurement, and what the goals' verdicts are made from."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from bench import figures, report, tables
from bench.contenders import BEST, CONTENDERS, NORMAL, POPULAR
from bench.scenarios import MIXED, SCENARIOS, steady

MS = 1_000_000
DOCS = Path("docs")


def generated(count: int = 4, accepted: int = 1) -> dict[str, Any]:
    """Messages begun a millisecond after each other, each of which took 1, 2, 3 ... ms."""
    return {"retries": 0, "messages": [[i, i * MS, (i + 1) * MS, accepted] for i in range(count)]}


def received(*numbers: int, signed: int = 1, strangers: int = 0) -> dict[str, Any]:
    """These arrived, each 10 ms after its DATA."""
    return {"strangers": strangers, "messages": [[i, i * MS, (i + 10) * MS, signed] for i in numbers]}


def test_a_round_in_which_all_arrived_once_and_signed_counts() -> None:
    figures.check(generated(), received(0, 1, 2, 3), {0, 1, 2, 3}, verified=True)
    figures.check(generated(), received(0, 2), {0, 2}, verified=True)  # the others went to the dead


@pytest.mark.parametrize(
    ("sent", "came", "verified", "said"),
    [
        (generated(), received(0, 1, 3), True, "lost: 1 (2)"),
        (generated(), received(0, 1, 2, 3, 1), True, "twice: 1 (1)"),
        (generated(), received(0, 1, 2, 3, signed=0), True, "unsigned: 4 (0, 1, 2, 3)"),
        (generated(), received(0, 1, 2, 3, 4), True, "not sent: 1 (4)"),
        (generated(accepted=0), received(0, 1, 2, 3), True, "not accepted: 4 (0, 1, 2, 3)"),
        (generated(), received(0, 1, 2, 3, strangers=2), True, "of another round: 2"),
        (generated(), received(0, 1, 2, 3), False, "does not verify"),
    ],
)
def test_a_round_that_lost_anything_is_a_failure(
    sent: dict[str, Any], came: dict[str, Any], verified: bool, said: str
) -> None:
    with pytest.raises(figures.LostError) as caught:
        figures.check(sent, came, {0, 1, 2, 3}, verified=verified)
    assert said in str(caught.value)


def test_times() -> None:
    assert figures.times(generated(), received(0, 1, 2, 3)) == {
        "rate": 4 / 0.013,  # begun at 0, the last one there after 13 ms
        "accept_p50": 2,
        "accept_p99": 4,
        "accept_p999": 4,
        "transit_p50": 10,
        "transit_p99": 10,
    }


def test_percentiles_are_values_that_were_seen() -> None:
    values = [float(value) for value in range(1, 101)]
    assert [figures.percentile(values, percent) for percent in (50, 99, 100)] == [50, 99, 100]
    assert figures.percentile([7.0], 99) == 7


def test_ratios_compare_what_ran_side_by_side() -> None:
    # a machine that gets slower makes both slower: the ratio stays
    found = figures.ratio({0: 100.0, 1: 50.0, 2: 10.0}, {0: 50.0, 1: 25.0, 2: 5.0, 3: 1.0})
    assert found == figures.Spread(2, 2, 2, 3)
    assert figures.ratio({}, {0: 1.0}) is None


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"),
        (0.01234, "0.0123"),
        (1.234, "1.23"),
        (12.34, "12.3"),
        (123.4, "123"),
        (1234.0, "1234"),
        (9.999, "10.00"),
    ],
)
def test_numbers_have_three_digits(value: float, text: str) -> None:
    assert figures.number(value) == text


def test_counting_calls_leaves_threads_and_second_halves_out() -> None:
    trace = """\
35    clone(child_stack=NULL, flags=CLONE_CHILD_CLEARTID|CLONE_CHILD_SETTID|SIGCHLD, child_tidptr=0x7f) = 1614
38    clone(child_stack=0x7f, flags=CLONE_VM|CLONE_FILES|CLONE_SIGHAND|CLONE_THREAD|CLONE_SYSVSEM) = 1622
41    clone3({flags=CLONE_VM|CLONE_VFORK, exit_signal=SIGCHLD}, 88 <unfinished ...>
42    fsync(5 <unfinished ...>
41    <... clone3 resumed>)             = 1623
42    <... fsync resumed>)              = 0
42    fdatasync(6)                      = 0
43    vfork()                           = ? ERESTARTNOINTR (To be restarted)
"""
    assert figures.count_calls(trace) == {"forks": 2, "fsyncs": 2}


def test_cpu_by_program_counts_who_came_and_went_as_gone() -> None:
    before = {(1, "sendmail"): 5.0, (2, "opendkim"): 1.0, (3, "smtpd"): 7.0}
    after = {(1, "sendmail"): 5.5, (2, "opendkim"): 2.0, (4, "smtpd"): 0.25}  # one smtpd ended, another one started
    assert figures.by_program(before, after, 4.0) == {"sendmail": 0.5, "opendkim": 1.0, "smtpd": 0.25, "gone": 2.25}


PROGRAMS = {"cpu_ms_by_program": {"opendkim": 2.0, "gone": 1.0, "qmgr": 0.001}}


def result(rates: dict[str, list[float]], **more: float) -> dict[str, Any]:
    """A run of all scenarios in which a contender's rates were the same in each."""
    usual = {
        "accept_p50": 5.0,
        "accept_p99": 12.0,
        "transit_p50": 9.0,
        "transit_p99": 20.0,
        "cpu_ms": 3.0,
        "tools_cpu_ms": 0.5,
        "others": 0.0,
    }
    return {
        "began": "2026-01-02T03:04:05+00:00",
        "seconds": 1200,
        "short": False,
        "repetitions": 3,
        "machine": {
            "cpu": "a CPU", "cores": 2, "memory": 2**34, "kernel": "6.1", "system": "Debian", "docker": "28",
            "storage": "overlay2 on extfs", "cgroup": "v2",
        },
        "contenders": [
            {"name": one.name, "text": one.text, "image": one.image, "revision": "", "packages": {"x": "1"}, "bytes": 10**8}
            for one in CONTENDERS
            if one.name in rates
        ],
        "scenarios": [asdict(scenario) for scenario in SCENARIOS],
        "rounds": [
            {"scenario": scenario.name, "contender": name, "repetition": i, "rate": rate, "memory": 2**26, **usual, **PROGRAMS, **more}
            for scenario in SCENARIOS
            for name, values in rates.items()
            for i, rate in enumerate(values)
        ],
        "failures": [],
        "rest": [],
        "calls": [],
        "profiles": [],
    }  # fmt: skip


def verdict(of: dict[str, Any], goal: str, scenario: str) -> str:
    return next(each.said for each in tables.verdicts(of) if goal in each.goal and each.scenario == scenario)


def test_verdicts_come_from_the_figures() -> None:
    run = result({NORMAL: [190.0, 200.0, 210.0], POPULAR: [100.0] * 3, BEST: [200.0] * 3})
    assert verdict(run, f"over {POPULAR}", "base") == "met"  # 2.0, the median, is enough
    assert verdict(run, f"over {BEST}", "1-MB") == "met"  # 1.0 there
    assert verdict(run, f"over {BEST}", "base") == "not met"
    assert verdict(run, "p50", "paced-slow") == verdict(run, "p99", "paced-slow") == "met"
    assert verdict(run, "peak memory", "50-sessions") == "not met"  # as much as the other
    assert verdict(run, "CPU a message", "tls") == "not met"  # likewise

    slower = result({NORMAL: [190.0, 199.0, 210.0], POPULAR: [100.0] * 3}, accept_p99=12.1)
    assert verdict(slower, f"over {POPULAR}", "base") == "not met"
    assert verdict(slower, "p99", "paced") == "not met"
    assert tables.goals(slower).title.startswith("Goals: ")


def test_a_goal_that_is_not_met_says_what_it_would_take() -> None:
    rates = {NORMAL: [100.0] * 3, POPULAR: [100.0] * 3, BEST: [150.0] * 3}
    run = result(rates, memory=2**27)
    run["rest"] = [{"contender": NORMAL, "memory": 28 * 2**20, "ready": 1.5}]
    said = {(row[0], row[1]): row[-1] for row in tables.goals(run).rows}
    assert said[f"throughput of {NORMAL} over {POPULAR}", "base"] == (
        "200/s leave 10.0 ms of CPU for a message; it takes 3.00, generator and receiver 0.500; best reaches 1.50"
    )
    assert said[f"throughput of {NORMAL} over {BEST}", "20-mx"].startswith("180/s leave 11.1 ms")
    assert said[f"peak memory of {NORMAL} over {BEST}", "50-sessions"] == (
        "76.8 MiB would do; 28.0 are used at rest, and 2.00 more for each session"
    )
    assert verdict(run, "memory at rest", "at rest") == "met"
    assert verdict(run, "ready", "at rest") == "not met"


def test_steady_load_is_half_of_what_was_reached() -> None:
    scenario = steady(201.0, 60)
    assert (scenario.rate, scenario.messages) == (100, 360_000)
    assert scenario.sizes == MIXED.sizes


def test_every_goal_is_judged_in_every_scenario_that_it_is_about() -> None:
    judged = {each.scenario for each in tables.verdicts(result({NORMAL: [1.0]}))}
    assert judged == {scenario.name for scenario in SCENARIOS}


def test_a_busy_machine_makes_a_run_preliminary() -> None:
    assert report.remarks(result({NORMAL: [1.0]})) == []
    (remark,) = report.remarks(result({NORMAL: [1.0]}, others=0.3))
    assert remark.startswith("Preliminary: other programs used 30%")
    assert f"**{remark}**" in report.markdown(result({NORMAL: [1.0]}, others=0.3))


def test_the_report_names_the_programs_that_use_the_cpu() -> None:
    text = report.markdown(result({NORMAL: [1.0]}))
    assert f"| base | {NORMAL} | opendkim 2.00, gone 1.00 |" in text
    assert "(performance/throughput.svg)" in text


def test_profiles_name_what_takes_most_first() -> None:
    run = result({NORMAL: [1.0]})
    parts = {"opendkim": {"libcrypto.so.3": 1.5}, "sendmail": {"kernel": 4.0, "libc.so.6": 1.0, "[vdso]": 0.0}}
    run["profiles"] = [
        {
            "scenario": name,
            "contender": NORMAL,
            "parts": parts,
            "cpu_ms": 8.0,
            "causes": {"fork": 0.5, "page faults": 2.0},
        }
        for name in ("base", "1-MB")
    ]
    table, great = (table for table in tables.tables(run) if table.title.startswith("Profile"))
    assert great.title == "Profile of 1-MB: CPU ms a message, by perf"
    assert table.rows == [
        [NORMAL, "sendmail", "5.00", "kernel 4.00, libc.so.6 1.00"],
        [NORMAL, "opendkim", "1.50", "libcrypto.so.3 1.50"],
        [NORMAL, "(not sampled)", "1.50", "interrupts, switches, the end of processes"],
        [NORMAL, "(of all that)", "", "page faults 2.00, fork 0.500"],
    ]


def test_who_lost_messages_has_no_figure() -> None:
    run = result({NORMAL: [200.0], POPULAR: [100.0]})
    run["failures"] = [{"scenario": "base", "contender": POPULAR, "said": "round 2: lost: 1 (7)", "log": []}]
    assert verdict(run, f"over {POPULAR}", "base") == "not measured"
    assert verdict(run, f"over {POPULAR}", "1-MB") == "met"
    assert report.remarks(run) == [f"Failed: {POPULAR} in base, which has no figure of it: round 2: lost: 1 (7)."]


def test_the_report_stands_between_its_marks_only() -> None:
    document = f"before\n{report.BEGIN}\nold\n{report.END}\nafter\n"
    assert report.with_part(document, "new\n") == f"before\n{report.BEGIN}\n\nnew\n\n{report.END}\nafter\n"
    with pytest.raises(ValueError, match="lacks the line <!-- bench:end"):
        report.with_part(report.BEGIN, "new")


def test_plots_are_svg_with_every_scenario_and_spread() -> None:
    drawn = report.plots(result({NORMAL: [1.0, 2.0, 4.0], BEST: [3.0]}))
    root = ET.fromstring(drawn["throughput.svg"])
    texts = {element.text for element in root.iter("{http://www.w3.org/2000/svg}text")}
    assert {scenario.name for scenario in SCENARIOS if not scenario.is_paced} | {NORMAL, BEST, "2.00", "3.00"} <= texts
    lines = root.findall("{http://www.w3.org/2000/svg}line")
    assert float(lines[0].attrib["x2"]) > float(lines[0].attrib["x1"])


def test_the_documents_hold_what_the_recorded_run_says() -> None:
    """``python -m bench --report docs/performance.json`` mends it."""
    page, recorded = (DOCS / "performance.md").read_text(), DOCS / "performance.json"
    if not recorded.exists():
        assert report.with_part(page, report.NOT_YET) == page
        return
    run = json.loads(recorded.read_text())
    assert report.with_part(page, report.markdown(run)) == page
    assert {path.name: path.read_text() for path in (DOCS / "performance").glob("*.svg")} == report.plots(run)
