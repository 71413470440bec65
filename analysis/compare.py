"""``python -m analysis compare OLD NEW``: whether a quantity got worse between two experiments, for CI."""

from __future__ import annotations

import argparse
import math
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from analysis.analyse import Analysis, analyse
from analysis.judge import words
from analysis.judge.across import (
    OF_THE_SERVICE,
    changed_circumstances,
    changed_service,
    refuse_one_experiment,
    service_name,
    why_other_circumstances,
)
from analysis.judge.doubts import INVALID_EXIT_CODE
from analysis.judge.verdicts import ALPHA, holm
from analysis.measure.quantity import CAPACITY, NAN, QUANTITIES, missing
from analysis.measure.rounds import RATES_MIXED, Measurement
from analysis.measure.unpaired import Unpaired, unpaired
from analysis.read.records import UnreadableResults
from analysis.read.results import Results, read_results
from analysis.show.junit import Case, render_junit
from analysis.show.output import RecordedFile, write_output

NAMES = {"median": "median_ms", "p50": "median_ms", "p95": "p95_ms", "p99": "p99_ms", "throughput": "throughput_per_s"}
NAMES |= {"cpu": "cpu_ms_per_answer", "memory": "memory_mean_mb", "start": "seconds_to_healthy"}
NAMES |= {"capacity": CAPACITY}
DEFAULT, DEFAULT_OF_SEARCHES = "p95>10%", "capacity<-10%"
"""What is asked if the user names no condition: of two loads, and of two searches for the capacity."""
NOT_SEARCHED = missing("it had no search for the capacity")
REGRESSION_EXIT_CODE = 1


class UnusableCondition(Exception):
    """A condition that can't be used. The message says what one looks like."""


@dataclass(frozen=True)
class Condition:
    """A quantity that may not rise (``is_rise``) or fall by more than ``limit``, which is a part of it: 0.1 is 10%."""

    text: str
    key: str
    is_rise: bool
    limit: float


def parse_condition(text: str) -> Condition:
    """``p95>10%`` or ``throughput<-5%``.

    Raises:
        UnusableCondition: it is none.
    """
    found = re.fullmatch(r"\s*(\w+)\s*([<>])\s*([+-]?\d+(?:\.\d+)?)\s*%\s*", text)
    key = NAMES.get(found[1], found[1]) if found else ""
    if found is None or key not in QUANTITIES:
        known = ", ".join(NAMES)
        raise UnusableCondition(f"{text!r} is no condition; write p95>10% or throughput<-5%, with one of {known}")
    limit = float(found[3]) / 100
    if ((found[2] == ">") != (limit >= 0) and limit != 0) or limit <= -1:
        raise UnusableCondition(f"{text!r} can't be meant: > goes with a rise such as 10%, < with a fall such as -10%")
    return Condition(text.strip(), key, found[2] == ">", limit)


def main(arguments: list[str]) -> int:
    """The command; its exit code: 0 no regression is shown, 1 one is, 2 wrong use, 3 not comparable or not valid."""
    parser = argparse.ArgumentParser(
        prog="python -m analysis compare",
        description="Whether a quantity got worse from one experiment to another. Both have the same load, or both are "
        "searches for the capacity at the same objective.",
        epilog="Exit code: 0 no regression is shown, 1 one is, 2 wrong use, 3 the experiments can't be compared.",
    )
    parser.add_argument("old", type=Path, help="the folder of the earlier experiment")
    parser.add_argument("new", type=Path, help="the folder of the later experiment")
    fail_on = f"{DEFAULT}, throughput<-5%, ... (repeatable); the default is {DEFAULT}, of two searches for the "
    fail_on += f"capacity {DEFAULT_OF_SEARCHES}"
    parser.add_argument("--fail-on", action="append", help=fail_on.replace("%", "%%"))
    parser.add_argument("--junit", type=Path, help="write JUnit XML there")
    said = parser.parse_args(arguments)
    try:
        conditions = [parse_condition(part) for text in said.fail_on or [] for part in text.split(",")]
        old, new = (analyse(read_results(folder)) for folder in (said.old, said.new))
        refuse_one_experiment(old.results, new.results)
        conditions = conditions or [_default(old, new)]
    except (UnusableCondition, UnreadableResults) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    cases = judge_changes(old, new, conditions)
    caveats = changed_service(old.results, new.results) + changed_circumstances(old.results, new.results)
    for text in caveats:
        print(f"caveat: {text}")
    for case in cases:
        print(f"{case.name}: {case.failure or case.error or case.said}")
    if said.junit:
        try:
            content = render_junit([*cases, *(Case("caveats", text, said=text) for text in caveats)])
            write_output(said.junit, content, follow_link=True, results=[said.old, said.new])
        except (OSError, RecordedFile) as error:
            reason = f"{said.junit} can't be written ({error.strerror})" if isinstance(error, OSError) else error
            print(f"error: {reason}", file=sys.stderr)
            return 2
    if any(case.error is not None for case in cases) or not cases:
        return INVALID_EXIT_CODE
    return REGRESSION_EXIT_CODE if any(case.failure is not None for case in cases) else 0


def _default(old: Analysis, new: Analysis) -> Condition:
    """What is asked of two experiments if the user does not say it."""
    are_searches = old.results.is_search and new.results.is_search
    return parse_condition(DEFAULT_OF_SEARCHES if are_searches else DEFAULT)


def judge_changes(old: Analysis, new: Analysis, conditions: list[Condition]) -> list[Case]:
    """Each condition on each deployment of either experiment, with Holm's correction for all of them."""
    before, after = ({load.name: load for load in analysis.loads} for analysis in (old, new))
    rows = []
    for name in dict.fromkeys([*before, *after]):
        for condition in conditions:
            refused = _why_not(name, before, after, old, new, condition)
            values = [loads[name].values(condition.key) if name in loads else {} for loads in (before, after)]
            found = unpaired(*values)
            p_value = found.p_beyond(condition.limit, condition.is_rise)
            if refused is None and math.isnan(p_value):
                refused = "one of the two has one round, which is not enough; measure both with --set rounds=5"
            title = (after.get(name) or before[name]).title
            rows.append((f"{title}: {condition.text}", found, p_value, refused))
    adjusted = holm([NAN if refused else p_value for *_, p_value, refused in rows])
    return [
        Case("compare", name, error=refused) if refused else _case(name, found, p)
        for (name, found, _, refused), p in zip(rows, adjusted, strict=True)
    ]


def _case(name: str, found: Unpaired, p_value: float) -> Case:
    interval = f"95% interval {found.low:.3f} to {found.high:.3f}" if found.has_interval else words.TWO_ROUNDS
    said = f"{found.ratio:.3f} times the old ({interval}), {words.p_value(p_value)}"
    if p_value < ALPHA:
        return Case("compare", name, failure=f"regression: {said}")
    return Case("compare", name, said=f"no regression shown: {said}")


def _why_not(
    name: str,
    before: Mapping[str, Measurement],
    after: Mapping[str, Measurement],
    old: Analysis,
    new: Analysis,
    condition: Condition,
) -> str | None:
    for which, has, analysis in (("old", before, old), ("new", after, new)):
        if name not in has:
            return f"not measured in the {which} experiment"
        if doubt := analysis.validity.of(name):
            return f"the {which} measurement is not valid: {doubt[0].title}"
    is_other_service = service_name(old.results) != service_name(new.results)
    unlike = why_other_circumstances(
        before[name].deployment,
        after[name].deployment,
        old.results,
        new.results,
        may_differ=OF_THE_SERVICE if is_other_service else (),
    )
    if unlike is not None:
        return unlike
    for which, has, analysis in (("old", before, old), ("new", after, new)):
        estimate = has[name].summary.get(condition.key, NOT_SEARCHED)
        if not estimate.is_measured:
            mixed = _why_mixed(analysis.results) if estimate.missing == RATES_MIXED else ""
            return f"not measured in the {which} experiment: {estimate.missing}{mixed}"
    return None


def _why_mixed(results: Results) -> str:
    """What to do if a quantity would be that of several rates."""
    if results.is_search:
        return f'; of two searches for the capacity, compare that (--fail-on "{DEFAULT_OF_SEARCHES}")'
    return "; measure both experiments at one rate (--set rate=80), or search for both capacities (plans/capacity.toml)"
