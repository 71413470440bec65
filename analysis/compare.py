"""``python -m analysis compare OLD NEW``: whether a figure got worse between two experiments, for CI."""

from __future__ import annotations

import argparse
import math
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
from scipy import stats

from analysis.analyse import Analysis, analyse
from analysis.judge import words
from analysis.judge.comparability import memory_limits_bytes, usable_cpus, why_unlike
from analysis.judge.validity import INVALID_EXIT_CODE
from analysis.judge.verdicts import ALPHA, RESOLUTION, holm
from analysis.measure.quantity import QUANTITIES
from analysis.measure.rounds import Measurement
from analysis.read.records import UnreadableResults
from analysis.read.results import read_results
from analysis.show.junit import Case, render_junit
from analysis.show.output import RecordedFile, write_output
from runfiles.machines import DockerEngine, Machine, are_different

NAMES = {"median": "median_ms", "p50": "median_ms", "p95": "p95_ms", "p99": "p99_ms", "throughput": "throughput_per_s"}
NAMES |= {"cpu": "cpu_ms_per_answer", "memory": "memory_mean_mb", "start": "seconds_to_healthy"}
DEFAULT = "p95>10%"
REGRESSION_EXIT_CODE = 1
NAN = float("nan")


class UnusableCondition(Exception):
    """A condition that says nothing. The message says what one looks like."""


@dataclass(frozen=True)
class Condition:
    """A figure that may not rise (``is_rise``) or fall by more than ``limit``, which is a part of it: 0.1 is 10%."""

    text: str
    key: str
    is_rise: bool
    limit: float


@dataclass(frozen=True)
class Change:
    """A figure of the new experiment over that of the old, with its 95% interval (Welch's t, on logarithms).

    ``p_value`` is the one-sided one of a change that is no larger than the condition allows.
    """

    ratio: float
    low: float
    high: float
    p_value: float


def parse_condition(text: str) -> Condition:
    """``p95>10%`` or ``throughput<-5%``.

    Raises:
        UnusableCondition: it is none.
    """
    found = re.fullmatch(r"\s*(\w+)\s*([<>])\s*([+-]?\d+(?:\.\d+)?)\s*%\s*", text)
    key = NAMES.get(found[1], found[1]) if found else ""
    if found is None or key not in QUANTITIES:
        known = ", ".join(NAMES)
        raise UnusableCondition(f"{text!r} is no condition; write p95>10% or throughput<-5%, of {known}")
    limit = float(found[3]) / 100
    if ((found[2] == ">") != (limit >= 0) and limit != 0) or limit <= -1:
        raise UnusableCondition(f"{text!r} can't be meant: > goes with a rise such as 10%, < with a fall such as -10%")
    return Condition(text.strip(), key, found[2] == ">", limit)


def change(old: Mapping[int, float], new: Mapping[int, float], condition: Condition) -> Change:
    """What became of a figure; rounds of two experiments are not paired. NaN with fewer than two rounds on a side."""
    before, after = (np.log([value for value in one.values() if value > 0]) for one in (old, new))
    if min(len(before), len(after)) < 2:
        ratio = math.exp(after.mean() - before.mean()) if len(before) and len(after) else NAN
        return Change(ratio, NAN, NAN, NAN)
    parts = [max(float(one.var(ddof=1)), RESOLUTION**2) / len(one) for one in (before, after)]
    freedom = sum(parts) ** 2 / sum(part**2 / (len(one) - 1) for part, one in zip(parts, (before, after), strict=True))
    error = math.sqrt(sum(parts))
    difference = float(after.mean() - before.mean())
    arm = float(stats.t.ppf(1 - ALPHA / 2, freedom)) * error
    beyond = (difference - math.log1p(condition.limit)) / error
    p_value = float(stats.t.sf(beyond if condition.is_rise else -beyond, freedom))
    return Change(math.exp(difference), math.exp(difference - arm), math.exp(difference + arm), p_value)


def main(arguments: list[str]) -> int:
    """The command; its exit code: 0 no regression is shown, 1 one is, 2 it was used wrongly, 3 nothing can be told."""
    parser = argparse.ArgumentParser(
        prog="python -m analysis compare",
        description="Whether a figure got worse from one experiment to another.",
        epilog="Exit code: 0 no regression shown, 1 a regression shown with confidence, 2 usage, 3 not valid.",
    )
    parser.add_argument("old", type=Path)
    parser.add_argument("new", type=Path)
    parser.add_argument("--fail-on", action="append", help=f"p95>10%%, throughput<-5%%, ... (repeatable; {DEFAULT}%)")
    parser.add_argument("--junit", type=Path, help="write JUnit XML there")
    said = parser.parse_args(arguments)
    try:
        conditions = [parse_condition(one) for text in said.fail_on or [DEFAULT] for one in text.split(",")]
        old, new = (analyse(read_results(folder)) for folder in (said.old, said.new))
        _refuse_one_experiment(old, new)
    except (UnusableCondition, UnreadableResults) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    cases = judge_changes(old, new, conditions)
    for text in other_surroundings(old, new):
        print(f"mind: {text}")
    for one in cases:
        print(f"{one.name}: {one.failure or one.error or one.said}")
    if said.junit:
        try:
            minded = [Case("to mind", text, said=text) for text in other_surroundings(old, new)]
            write_output(said.junit, render_junit([*cases, *minded]), follow_link=True, results=[said.old, said.new])
        except (OSError, RecordedFile) as error:
            reason = f"{said.junit} can't be written ({error.strerror})" if isinstance(error, OSError) else error
            print(f"error: {reason}", file=sys.stderr)
            return 2
    if any(one.error is not None for one in cases) or not cases:
        return INVALID_EXIT_CODE
    return REGRESSION_EXIT_CODE if any(one.failure is not None for one in cases) else 0


def _refuse_one_experiment(old: Analysis, new: Analysis) -> None:
    """A folder and itself, or a copy of it, are not two experiments.

    Raises:
        UnreadableResults: a run of one began at the same moment as one of the other, or has its response times.
    """
    before, after = (
        {run.record.started_at_unix_s for run in one.results.runs} | {run.fingerprint for run in one.results.runs}
        for one in (old, new)
    )
    if old.results.folder.resolve() == new.results.folder.resolve() or before & after - {None}:
        raise UnreadableResults(
            f"{old.results.folder} and {new.results.folder} hold the same runs, so they are one experiment; "
            "name two that were measured"
        )


def judge_changes(old: Analysis, new: Analysis, conditions: list[Condition]) -> list[Case]:
    """Each condition on each deployment that the new experiment or the old one measured; corrected after Holm."""
    before, after = ({one.name: one for one in each.loads} for each in (old, new))
    rows = []
    for name in dict.fromkeys([*before, *after]):
        for condition in conditions:
            refused = _why_not(name, before, after, old, new, condition)
            found = (
                change(before[name].values(condition.key), after[name].values(condition.key), condition)
                if (name in before and name in after)
                else Change(NAN, NAN, NAN, NAN)
            )
            if refused is None and math.isnan(found.p_value):
                refused = "one round on a side: no interval; run both with --set rounds=5"
            title = (after.get(name) or before[name]).title
            rows.append((f"{title}: {condition.text}", found, refused))
    adjusted = holm([NAN if refused else found.p_value for _, found, refused in rows])
    return [
        Case("compare", name, error=refused) if refused else _case(name, found, p)
        for (name, found, refused), p in zip(rows, adjusted, strict=True)
    ]


def _case(name: str, found: Change, p_value: float) -> Case:
    said = (
        f"{found.ratio:.3f} times the old (95% interval {found.low:.3f} to {found.high:.3f}), {words.p_value(p_value)}"
    )
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
        figure = has[name].summary[condition.key]
        if not figure.is_measured:
            return f"not measured in the {which} experiment: {figure.missing}"
    return _why_other_conditions(name, before, after, old, new)


def _machines(old: Analysis, new: Analysis) -> tuple[Machine, Machine]:
    return old.results.experiment.machine, new.results.experiment.machine


def _engines(old: Analysis, new: Analysis) -> tuple[DockerEngine, DockerEngine]:
    """The Docker engines; of none nothing is told."""
    return old.results.experiment.engine or DockerEngine(), new.results.experiment.engine or DockerEngine()


def _are_other_machines(before: Machine, after: Machine) -> bool:
    """Whether processor, memory or system differ. A kernel may be a newer one of the same machine."""
    systems = {before.system, after.system} - {None}
    is_other_cpu = (before.cpu_model, before.cpu_count) != (after.cpu_model, after.cpu_count)
    return is_other_cpu or len(systems) > 1 or are_different(replace(before, kernel=None), after)


def _are_other_engines(old: Analysis, new: Analysis) -> bool:
    """Whether containers ran on two machines: the engine's place differs, or, where it is elsewhere, its identity."""
    if old.results.engine_elsewhere != new.results.engine_elsewhere:
        return True
    before, after = _engines(old, new)
    hosts = {urlsplit(engine.endpoint or "unix:").hostname for engine in (before, after)}
    return old.results.engine_elsewhere is not None and (len(hosts) > 1 or are_different(before, after))


def other_surroundings(old: Analysis, new: Analysis) -> list[str]:
    """What of machine and engine is not the same, or not known, and keeps no figure from being compared."""
    found = []
    machines, engines = _machines(old, new), _engines(old, new)
    for (before, after), what in (
        ([machine.node for machine in machines], "name of the machine"),
        ([machine.kernel for machine in machines], "kernel"),
        ([engine.version for engine in engines], "version of the Docker engine"),
    ):
        if before != after:
            found.append(f"the {what} is not the same: {before or 'not told'}, then {after or 'not told'}")
    if None in [machine.cpu_model for machine in machines]:
        found.append("the processor is not known of both machines, so they may be two")
    if None in [machine.cpu_count for machine in machines]:
        found.append("the number of CPUs is not known of both machines, so they may be two")
    return found


def _why_other_conditions(
    name: str, before: Mapping[str, Measurement], after: Mapping[str, Measurement], old: Analysis, new: Analysis
) -> str | None:
    """What both must have in common: machine, limits as the rounds had them, and load."""
    if _are_other_machines(*_machines(old, new)):
        return "not compared: they ran on different machines"
    if not after[name].deployment.is_host and _are_other_engines(old, new):
        return "not compared: the engine did not run on the same machine"
    pair = ((old.results, before[name].deployment), (new.results, after[name].deployment))
    for limits, what in ((usable_cpus, "CPU"), (memory_limits_bytes, "memory")):
        if limits(*pair[0]) != limits(*pair[1]):
            return f"not compared: the {what} limit is not the same"
    unlike = why_unlike(after[name].deployment, before[name].deployment)
    return str(unlike) if unlike else None
