"""The cards of the deployments: their key figures, and the verdict on each."""

from __future__ import annotations

from analysis.analyse import Analysis
from analysis.judge import words
from analysis.judge.verdicts import FASTER, SLOWER, UNDECIDED, Verdict, against_first
from analysis.measure.rounds import Estimate, Measurement
from analysis.show.chart_style import colour
from analysis.show.elements import Card, Value

PREPOSITIONS = {SLOWER: "than", FASTER: "than", UNDECIDED: "from"}
"""What follows a verdict: slower *than*, not distinguishable *from*."""


def cards(analysis: Analysis) -> tuple[Card, ...]:
    """A card for each deployment that was measured under load."""
    verdicts = against_first(analysis.verdicts)
    return tuple(_measured(load, analysis, verdicts.get(load.name)) for load in analysis.loads)


def _measured(load: Measurement, analysis: Analysis, verdict: Verdict | None) -> Card:
    values = [
        _value(load.summary["median_ms"], 2, " ms", "median response time"),
        _value(load.summary["throughput_per_s"], 1, " /s", "answers"),
    ]
    invalid = analysis.validity.of(load.name)
    if invalid:
        titles = dict.fromkeys(doubt.title for doubt in invalid)
        values.append(Value("not valid", "; ".join(titles), "none red"))
    elif verdict is not None:
        values.append(_verdict(verdict))
    return Card(load.title, colour(load.name), tuple(values))


def _value(estimate: Estimate, digits: int, unit: str, name: str) -> Value:
    text = words.number(estimate, digits)
    detail = f"{name}\n{words.interval(estimate, digits)}"
    return Value(text + unit, detail) if estimate.is_measured else Value(text, detail, "none")


def _verdict(verdict: Verdict) -> Value:
    is_difference = verdict.kind in (SLOWER, FASTER)
    ratio = words.ratio(verdict.comparison)
    detail = f"{PREPOSITIONS.get(verdict.kind, 'against')} {verdict.other.title}: {ratio}\n"
    return Value(verdict.kind, detail) if is_difference else Value(verdict.kind, detail + verdict.detail, "none")
