"""Whether quantities got worse between two experiments: the test of each condition on each deployment."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from analysis.analyse import Analysis, Measured
from analysis.judge import words
from analysis.judge.across import OF_THE_SERVICE, service_name, why_other_circumstances
from analysis.judge.verdicts import ALPHA, holm
from analysis.measure.quantity import NAN, missing
from analysis.measure.rounds import RATES_MIXED, Measurement
from analysis.measure.unpaired import Unpaired, unpaired
from analysis.read.results import Results
from analysis.show.junit import Case
from runfiles.deployments import title_of

DEFAULT_OF_SEARCHES = "capacity<-10%"
"""What is asked of two searches for the capacity if the user names no condition."""
NOT_SEARCHED = missing("it had no search for the capacity")


@dataclass(frozen=True)
class Condition:
    """A quantity that may not rise (``is_rise``) or fall by more than ``limit``, which is a part of it: 0.1 is 10%."""

    text: str
    key: str
    is_rise: bool
    limit: float


def judge_conditions(old: Analysis, new: Analysis, conditions: list[Condition]) -> list[Case]:
    """Each condition on each deployment of either experiment, with Holm's correction for all of them."""
    names = [load.name for analysis in (old, new) for load in analysis.loads]
    return cases_of(judged(old, new, conditions, names))


@dataclass(frozen=True)
class Judged:
    """One quantity of a deployment in two experiments, and the p-value of the test whether it got worse by more than a
    condition allows. ``refused``: why the two are not compared; None: they are."""

    name: str
    found: Unpaired
    p_value: float
    refused: str | None


def judged(
    old: Analysis | Measured, new: Analysis | Measured, conditions: Sequence[Condition], names: Iterable[str]
) -> list[Judged]:
    """Each condition on each of the deployments with these names, of which at least one experiment has a load."""
    before, after = ({load.name: load for load in analysis.loads} for analysis in (old, new))
    found = []
    for name in dict.fromkeys(names):
        for condition in conditions:
            refused = _why_not(name, before, after, old, new, condition)
            values = [loads[name].values(condition.key) if name in loads else {} for loads in (before, after)]
            ratio = unpaired(*values)
            p_value = ratio.p_beyond(condition.limit, condition.is_rise)
            if refused is None and math.isnan(p_value):
                refused = "one of the two has one round, which is not enough; measure both with --set rounds=5"
            found.append(Judged(f"{title_of(name)}: {condition.text}", ratio, p_value, refused))
    return found


def cases_of(found: Sequence[Judged]) -> list[Case]:
    """What is said of each, with Holm's correction for all that are compared."""
    adjusted = holm([NAN if change.refused else change.p_value for change in found])
    return [
        Case("compare", change.name, error=change.refused)
        if change.refused
        else _case(change.name, change.found, p_value)
        for change, p_value in zip(found, adjusted, strict=True)
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
    old: Analysis | Measured,
    new: Analysis | Measured,
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
