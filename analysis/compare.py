"""``python -m analysis compare OLD NEW``: whether a quantity got worse between two experiments, for CI."""

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
from analysis.judge.doubts import INVALID_EXIT_CODE
from analysis.judge.verdicts import ALPHA, RESOLUTION, holm
from analysis.measure.quantity import FEWEST_ROUNDS, NAN, QUANTITIES
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


class UnusableCondition(Exception):
    """A condition that can't be used. The message says what one looks like."""


@dataclass(frozen=True)
class Condition:
    """A quantity that may not rise (``is_rise``) or fall by more than ``limit``, which is a part of it: 0.1 is 10%."""

    text: str
    key: str
    is_rise: bool
    limit: float


@dataclass(frozen=True)
class Change:
    """A quantity of the new experiment over that of the old, with its 95% interval (Welch's t, on logarithms).

    ``rounds`` are those of the side that has fewer. ``p_value`` is the one-sided one of a change that is no larger than
    the condition allows.
    """

    ratio: float
    low: float
    high: float
    rounds: int
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
        raise UnusableCondition(f"{text!r} is no condition; write p95>10% or throughput<-5%, with one of {known}")
    limit = float(found[3]) / 100
    if ((found[2] == ">") != (limit >= 0) and limit != 0) or limit <= -1:
        raise UnusableCondition(f"{text!r} can't be meant: > goes with a rise such as 10%, < with a fall such as -10%")
    return Condition(text.strip(), key, found[2] == ">", limit)


def change(old: Mapping[int, float], new: Mapping[int, float], condition: Condition) -> Change:
    """How a quantity changed. Rounds of two experiments are not paired. NaN with fewer than two rounds on a side."""
    before, after = (np.log([value for value in rounds.values() if value > 0]) for rounds in (old, new))
    fewest = min(len(before), len(after))
    if fewest < 2:
        ratio = math.exp(after.mean() - before.mean()) if fewest else NAN
        return Change(ratio, NAN, NAN, fewest, NAN)
    both = (before, after)
    parts = [max(float(logs.var(ddof=1)), RESOLUTION**2) / len(logs) for logs in both]
    freedom = sum(parts) ** 2 / sum(part**2 / (len(logs) - 1) for part, logs in zip(parts, both, strict=True))
    error = math.sqrt(sum(parts))
    difference = float(after.mean() - before.mean())
    arm = float(stats.t.ppf(1 - ALPHA / 2, freedom)) * error
    beyond = (difference - math.log1p(condition.limit)) / error
    p_value = float(stats.t.sf(beyond if condition.is_rise else -beyond, freedom))
    return Change(math.exp(difference), math.exp(difference - arm), math.exp(difference + arm), fewest, p_value)


def main(arguments: list[str]) -> int:
    """The command; its exit code: 0 no regression is shown, 1 one is, 2 wrong use, 3 not comparable or not valid."""
    parser = argparse.ArgumentParser(
        prog="python -m analysis compare",
        description="Whether a quantity got worse from one experiment to another.",
        epilog="Exit code: 0 no regression is shown, 1 one is, 2 wrong use, 3 the experiments can't be compared.",
    )
    parser.add_argument("old", type=Path, help="the folder of the earlier experiment")
    parser.add_argument("new", type=Path, help="the folder of the later experiment")
    parser.add_argument("--fail-on", action="append", help=f"p95>10%%, throughput<-5%%, ... (repeatable; {DEFAULT}%)")
    parser.add_argument("--junit", type=Path, help="write JUnit XML there")
    said = parser.parse_args(arguments)
    try:
        conditions = [parse_condition(part) for text in said.fail_on or [DEFAULT] for part in text.split(",")]
        old, new = (analyse(read_results(folder)) for folder in (said.old, said.new))
        _refuse_one_experiment(old, new)
    except (UnusableCondition, UnreadableResults) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    cases = judge_changes(old, new, conditions)
    caveats = changed_circumstances(old, new)
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


def _refuse_one_experiment(old: Analysis, new: Analysis) -> None:
    """Refuse to compare an experiment with itself or a copy of it.

    Raises:
        UnreadableResults: two of their runs began at the same moment, or have the same response times.
    """
    before, after = (
        {run.record.started_at_unix_s for run in analysis.results.runs}
        | {run.fingerprint for run in analysis.results.runs}
        for analysis in (old, new)
    )
    if old.results.folder.resolve() == new.results.folder.resolve() or before & after - {None}:
        raise UnreadableResults(
            f"{old.results.folder} and {new.results.folder} hold the same runs, so they are one experiment; "
            "name two that were measured"
        )


def judge_changes(old: Analysis, new: Analysis, conditions: list[Condition]) -> list[Case]:
    """Each condition on each deployment of either experiment, with Holm's correction for all of them."""
    before, after = ({load.name: load for load in analysis.loads} for analysis in (old, new))
    rows = []
    for name in dict.fromkeys([*before, *after]):
        for condition in conditions:
            refused = _why_not(name, before, after, old, new, condition)
            found = (
                change(before[name].values(condition.key), after[name].values(condition.key), condition)
                if (name in before and name in after)
                else Change(NAN, NAN, NAN, 0, NAN)
            )
            if refused is None and math.isnan(found.p_value):
                refused = "one of the two has one round, which is not enough; measure both with --set rounds=5"
            title = (after.get(name) or before[name]).title
            rows.append((f"{title}: {condition.text}", found, refused))
    adjusted = holm([NAN if refused else found.p_value for _, found, refused in rows])
    return [
        Case("compare", name, error=refused) if refused else _case(name, found, p)
        for (name, found, refused), p in zip(rows, adjusted, strict=True)
    ]


def _case(name: str, found: Change, p_value: float) -> Case:
    has_interval = found.rounds >= FEWEST_ROUNDS
    interval = f"95% interval {found.low:.3f} to {found.high:.3f}" if has_interval else words.TWO_ROUNDS
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
        estimate = has[name].summary[condition.key]
        if not estimate.is_measured:
            return f"not measured in the {which} experiment: {estimate.missing}"
    return _why_other_circumstances(name, before, after, old, new)


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
    """Whether containers ran on two machines: the engine is at another place or, if elsewhere, another engine."""
    if old.results.engine_elsewhere != new.results.engine_elsewhere:
        return True
    before, after = _engines(old, new)
    hosts = {urlsplit(engine.endpoint or "unix:").hostname for engine in (before, after)}
    return old.results.engine_elsewhere is not None and (len(hosts) > 1 or are_different(before, after))


def changed_circumstances(old: Analysis, new: Analysis) -> list[str]:
    """What changed of machine and Docker engine, or is not recorded, though the experiments may be compared."""
    found = []
    machines, engines = _machines(old, new), _engines(old, new)
    for (before, after), what in (
        ([machine.node for machine in machines], "name of the machine"),
        ([machine.kernel for machine in machines], "kernel"),
        ([engine.version for engine in engines], "version of the Docker engine"),
    ):
        if before != after:
            found.append(f"the {what} changed from {before or 'not recorded'} to {after or 'not recorded'}")
    groups = [{frozenset(group) for group in analysis.results.experiment.groups} for analysis in (old, new)]
    if all(groups) and groups[0] != groups[1]:
        found.append("other deployments ran side by side in the two experiments")
    for told, what in (
        ([machine.cpu_model for machine in machines], "processor"),
        ([machine.cpu_count for machine in machines], "number of CPUs"),
    ):
        if None in told:
            found.append(f"the {what} is not recorded for both experiments, so they may have run on two machines")
    return found


def _why_other_circumstances(
    name: str, before: Mapping[str, Measurement], after: Mapping[str, Measurement], old: Analysis, new: Analysis
) -> str | None:
    """What keeps two measurements of a deployment from being compared: another machine, other limits, another load."""
    if _are_other_machines(*_machines(old, new)):
        return "not compared: they ran on different machines"
    if not after[name].deployment.is_host and _are_other_engines(old, new):
        return "not compared: the Docker engine did not run on the same machine"
    pair = ((old.results, before[name].deployment), (new.results, after[name].deployment))
    for limits, what in ((usable_cpus, "CPU"), (memory_limits_bytes, "memory")):
        if limits(*pair[0]) != limits(*pair[1]):
            return f"not compared: the {what} limit changed"
    unlike = why_unlike(after[name].deployment, before[name].deployment)
    return str(unlike) if unlike else None
