"""``python -m analysis compare OLD NEW``: whether a quantity got worse between two experiments, for CI."""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Sequence
from pathlib import Path

from analysis.analyse import Analysis, analyse
from analysis.conditions import DEFAULT_OF_SEARCHES, Condition, judge_conditions
from analysis.grid_compare import compare_grids
from analysis.judge.across import changed_circumstances, changed_service, refuse_one_experiment
from analysis.judge.doubts import INVALID_EXIT_CODE
from analysis.measure.quantity import CAPACITY, QUANTITIES
from analysis.read.grid import is_grid
from analysis.read.records import UnreadableResults
from analysis.read.results import read_results
from analysis.show.junit import Case, render_junit
from analysis.show.output import RecordedFile, write_output
from runfiles.lines import printable
from runfiles.places import COMPARE

NAMES = {"median": "median_ms", "p50": "median_ms", "p95": "p95_ms", "p99": "p99_ms", "throughput": "throughput_per_s"}
NAMES |= {"cpu": "cpu_ms_per_answer", "memory": "memory_mean_mb", "start": "seconds_to_healthy"}
NAMES |= {"capacity": CAPACITY}
DEFAULT = "p95>10%"
"""What is asked if the user names no condition; of two searches for the capacity it is ``DEFAULT_OF_SEARCHES``."""
REGRESSION_EXIT_CODE = 1


class UnusableCondition(Exception):
    """A condition that can't be used. The message says what one looks like."""


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
        prog=COMPARE,
        description="Whether a quantity got worse from one experiment to another, or from one grid to another. Both "
        "have the same load, or both are searches for the capacity at the same objective.",
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
        are_grids = [is_grid(folder) for folder in (said.old, said.new)]
        if any(are_grids):
            cases, caveats = compare_grids(said.old, said.new, conditions or [parse_condition(DEFAULT)])
        else:
            cases, caveats = _compared(said.old, said.new, conditions)
    except (UnusableCondition, UnreadableResults) as error:
        print(f"error: {printable(str(error))}", file=sys.stderr)
        return 2
    for text in caveats:
        print(f"caveat: {printable(text)}")
    for case in cases:
        print(printable(f"{case.name}: {case.failure or case.error or case.said}"))
    if said.junit:
        try:
            content = render_junit([*cases, *(Case("caveats", text, said=text) for text in caveats)])
            write_output(said.junit, content, follow_link=True, results=[said.old, said.new])
        except (OSError, RecordedFile) as error:
            reason = f"{said.junit} can't be written ({error.strerror})" if isinstance(error, OSError) else error
            print(f"error: {printable(str(reason))}", file=sys.stderr)
            return 2
    is_worse = any(case.failure is not None for case in cases)
    if is_worse and all(are_grids):  # one cell that can't be compared does not hide the others
        return REGRESSION_EXIT_CODE
    if any(case.error is not None for case in cases) or not cases:
        return INVALID_EXIT_CODE
    return REGRESSION_EXIT_CODE if is_worse else 0


def _compared(old_folder: Path, new_folder: Path, conditions: Sequence[Condition]) -> tuple[list[Case], list[str]]:
    """What is said of each deployment of two experiments, and what to know of it.

    Raises:
        UnreadableResults: one can't be read, or both are the same.
    """
    old, new = (analyse(read_results(folder)) for folder in (old_folder, new_folder))
    refuse_one_experiment(old.results, new.results)
    caveats = changed_service(old.results, new.results) + changed_circumstances(old.results, new.results)
    return judge_conditions(old, new, [*conditions] or [_default(old, new)]), caveats


def _default(old: Analysis, new: Analysis) -> Condition:
    """What is asked of two experiments if the user does not say it."""
    are_searches = old.results.is_search and new.results.is_search
    return parse_condition(DEFAULT_OF_SEARCHES if are_searches else DEFAULT)
