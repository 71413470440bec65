"""How much each deployment carries: the verdicts of a search for the capacity, its finding and its headline."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial

import numpy as np

from analysis.judge import words
from analysis.judge.doubts import Validity
from analysis.judge.findings import Finding, Number, Part
from analysis.judge.verdicts import PROVEN, UNPROVEN, Comparison, Verdict, against_first, from_logs, judge
from analysis.measure.capacity import capacity_ratio
from analysis.measure.others import CLOSE_OTHERS, others_of
from analysis.measure.quantity import CAPACITY, FEWEST_ROUNDS, NAN, Estimate
from analysis.measure.ratios import logs_of_values
from analysis.measure.rounds import Measurement
from analysis.measure.searches import MORE_GENERATOR, Search
from runfiles.machines import EngineElsewhere

LEAST_WHOLE = 100
"""A capacity from this rate on is shown without a digit behind the point."""


def capacity_verdicts(
    loads: Sequence[Measurement],
    searches: Sequence[Search],
    validity: Validity,
    elsewhere: EngineElsewhere | None,
) -> list[Verdict]:
    """A verdict on the capacities of each pair of deployments."""
    compared = partial(compare_capacities, {search.name: search for search in searches})
    return judge(loads, validity, elsewhere, (CAPACITY,), compared)


def compare_capacities(searches: Mapping[str, Search], baseline: Measurement, subject: Measurement) -> Comparison:
    """The ratio of two capacities: of each round or, with too few rounds, of all steps together."""
    logs = logs_of_values(baseline.values(CAPACITY), subject.values(CAPACITY))
    if len(logs) >= FEWEST_ROUNDS:
        return from_logs(np.array([*logs.values()]))
    before, after = (searches[load.name] for load in (baseline, subject))
    found = capacity_ratio(before.objective, before.counted, after.counted)
    return Comparison(found.value, found.low, found.high, found.rounds, NAN, NAN, is_of_steps=True)


def search_anchor(name: str) -> str:
    """The anchor of a deployment's row in the page's table."""
    return f"capacity-{name}"


def capacity_finding(searches: Sequence[Search], verdicts: Sequence[Verdict], validity: Validity) -> list[Finding]:
    """How much each valid deployment carries."""
    valid = [search for search in searches if not validity.of(search.name)]
    parts: list[Part] = []
    for search in valid:
        parts += [" " if parts else "", *_of(search, verdicts)]
    return [Finding("finding-capacity", "Capacity", tuple(parts))] if parts else []


def capacity_headline(searches: Sequence[Search], verdicts: Sequence[Verdict]) -> tuple[str, ...]:
    """The capacities of all deployments in one sentence, and then a sentence for each."""
    each = tuple(
        "".join(part if isinstance(part, str) else part.text for part in _of(search, verdicts)) for search in searches
    )
    return each if len(each) == 1 else (capacity_line(searches), *each)


def capacity_line(searches: Sequence[Search]) -> str:
    """``Capacity at p95 < 200 ms: the host process 123 requests/s; docker run 118 requests/s.``; empty without any. One
    that was searched beside other programs is called not valid."""
    if not searches:
        return ""
    found = "; ".join(
        f"{words.named(search)} {carried(search.capacity)}{' (not valid)' if search.disturbance else ''}"
        for search in searches
    )
    return f"Capacity at {searches[0].objective}: {found}."


def carried(capacity: Estimate) -> str:
    """``118 requests/s``, or that it was not found."""
    return f"{capacity.value:,.{_digits(capacity)}f} requests/s" if capacity.is_measured else "not found"


def low_to_high(capacity: Estimate) -> str:
    """The 95% interval; nothing if there is none."""
    return words.low_to_high(capacity, _digits(capacity)) if capacity.has_interval else ""


def _digits(capacity: Estimate) -> int:
    return 0 if capacity.value >= LEAST_WHOLE else 1


def limit_of_generator(search: Search) -> str:
    """That the limit may be that of the load generator; nothing if it is that of the deployment."""
    if not search.may_be_generators:
        return ""
    others = others_of(step.counts.others_percent for step in search.behind_near)
    remedy = f"{others.said('of them')}, so {CLOSE_OTHERS}" if others.took_most else MORE_GENERATOR
    return (
        f"In {len(search.behind_near)} of the {len(search.near)} steps near this rate the load generator did not keep "
        f"the rate, so they do not count, and this may be its limit and not that of the deployment; {remedy}."
    )


def _of(search: Search, verdicts: Sequence[Verdict]) -> list[Part]:
    """``docker run carries 118 requests/s (95% interval 112 to 124) at p95 < 200 ms, 0.96 (0.92 to 1.00) times the host
    process; no difference is proven.``"""
    who, capacity, anchor = words.first_letter(words.named(search)), search.capacity, search_anchor(search.name)
    if not capacity.is_measured or search.limiting is None:
        return [f"{who}: the capacity was not found, because {capacity.missing}."]
    interval: list[Part] = [" (95% interval ", Number(low_to_high(capacity), anchor), ")"]
    parts: list[Part] = [f"{who} carries ", Number(carried(capacity), anchor)]
    parts += [*(interval if capacity.has_interval else []), f" at {search.limiting.text}"]
    parts += _against(against_first(verdicts).get(search.name))
    said = limit_of_generator(search)
    return [*parts, ".", *([f" {said}"] if said else [])]


def _against(verdict: Verdict | None) -> list[Part]:
    """How much that is of what the first deployment carries, and whether the difference is proven."""
    if verdict is None or not (ratio := words.ratio(verdict)):
        return []
    times: list[Part] = [", ", Number(ratio, f"verdict-{verdict.id}"), f" times {words.named(verdict.baseline)}"]
    if verdict.kind in PROVEN:
        return [*times, f"; that it {verdict.kind} is proven ({words.p_value(verdict.p_value)})"]
    return [*times, "; no difference is proven" if verdict.kind == UNPROVEN else f"; no verdict: {verdict.detail}"]
