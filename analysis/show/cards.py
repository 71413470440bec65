"""The cards of the deployments: key figures and the verdict, or why a deployment was not measured."""

from __future__ import annotations

from analysis.analyse import Analysis
from analysis.judge import words
from analysis.judge.verdicts import FASTER, SLOWER, Verdict, against_first
from analysis.measure.quantity import Estimate
from analysis.measure.rounds import Measurement
from analysis.read.results import Deployment
from analysis.show.chart_style import colour
from analysis.show.elements import Card, Value
from runfiles.events import FAILED, STATUS_MEASURED


def cards(analysis: Analysis) -> tuple[Card, ...]:
    """A card for each deployment, in their order: grey ones for those that were not measured."""
    loads = {load.name: load for load in analysis.loads}
    verdicts = against_first(analysis.verdicts)
    return tuple(
        _measured(loads[deployment.name], analysis, verdicts.get(deployment.name))
        if deployment.name in loads
        else _not_measured(deployment, analysis)
        for deployment in analysis.results.deployments
    )


def why_not_measured(deployment: Deployment, analysis: Analysis) -> str:
    """Why a deployment has no figures under load."""
    if deployment.status != STATUS_MEASURED:
        return f"{deployment.status}: {deployment.reason or 'no reason was given'}"
    reasons = dict.fromkeys(doubt.text for doubt in analysis.validity.of(deployment.name))
    return "; ".join(reasons) or "no run under load was recorded"


def _not_measured(deployment: Deployment, analysis: Analysis) -> Card:
    style = "none red" if deployment.status == FAILED else "none"
    value = Value("not measured", why_not_measured(deployment, analysis), style)
    return Card(deployment.title, "var(--line)", (value,), style="unmeasured")


def _measured(load: Measurement, analysis: Analysis, verdict: Verdict | None) -> Card:
    values = [
        _value(load.summary["median_ms"], 2, " ms", "median response time"),
        _value(load.summary["throughput_per_s"], 1, " /s", "answers per second"),
    ]
    invalid = analysis.validity.of(load.name)
    if invalid:
        titles = dict.fromkeys(doubt.title for doubt in invalid)
        values.append(Value("not valid", "; ".join(titles), "none red"))
    elif verdict is not None:
        values.append(_verdict(verdict))
    return Card(load.title, colour(load.name), tuple(values), "\n".join(_counts(load)))


def _value(estimate: Estimate, digits: int, unit: str, name: str) -> Value:
    text = words.number(estimate, digits)
    if not estimate.is_measured:
        return Value(text, f"{name}\n{estimate.missing or ''}", "none")
    return Value(text + unit, f"{name}\n{_interval(estimate, digits)}")


def _interval(estimate: Estimate, digits: int) -> str:
    if estimate.has_interval:
        return f"95% interval {words.low_to_high(estimate, digits)}"
    return f"no interval from {estimate.rounds} round{'s' if estimate.rounds != 1 else ''}"


def _counts(load: Measurement) -> list[str]:
    """What the card's figures were counted from, each number with what it counts."""
    requests, failures = load.summary["requests"], load.summary["failures"]
    answers, cpu = load.summary["throughput_per_s"], load.summary["cpu_percent"]
    rounds = f" in {requests.rounds} rounds" if requests.rounds > 1 else ""
    counts = [f"{requests.value:,.0f} requests sent{rounds}, {failures.value:,.0f} failed"]
    if answers.is_measured:
        counts.append(f"{answers.n:,} answers in whole seconds")
    counts.append(f"CPU from {cpu.n:,} {cpu.of} of samples" if cpu.is_measured else "CPU not measured")
    return counts


def _verdict(verdict: Verdict) -> Value:
    is_difference = verdict.kind in (SLOWER, FASTER)
    ratio = words.ratio(verdict.comparison)
    detail = f"{'than' if is_difference else 'against'} {verdict.baseline.title}" + (
        f": ratio of medians {ratio}" if ratio else ""
    )
    return Value(verdict.kind, detail) if is_difference else Value(verdict.kind, f"{detail}\n{verdict.detail}", "none")
