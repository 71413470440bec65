"""The cards of the deployments: key figures and the verdict, or why a deployment was not measured."""

from __future__ import annotations

from collections.abc import Sequence

from analysis.analyse import Analysis
from analysis.judge import words
from analysis.judge.capacities import carried, low_to_high
from analysis.judge.changes import NOTICED_S, label, until
from analysis.judge.staircases import highest, rate, rounds_reaching
from analysis.judge.verdicts import MAIN, NAMES, NONE, PROVEN, Verdict, against_first
from analysis.measure.effects import Effect
from analysis.measure.quantity import Estimate
from analysis.measure.rounds import Measurement
from analysis.measure.searches import Search
from analysis.measure.steps import Staircase
from analysis.read.results import Deployment
from analysis.show.chart_style import colour
from analysis.show.elements import Card, Value
from runfiles.events import FAILED, STATUS_MEASURED


def cards(analysis: Analysis) -> tuple[Card, ...]:
    """A card for each deployment: first those that were measured, then grey ones with the reason."""
    loads = {load.name: load for load in analysis.loads}
    staircases = {staircase.name: staircase for staircase in analysis.staircases}
    searches = {search.name: search for search in analysis.searches}
    of_first = against_first(analysis.verdicts)
    pairs = {(verdict.subject.name, verdict.baseline.name) for verdict in of_first.values()}
    verdicts = [found for found in analysis.verdicts if (found.subject.name, found.baseline.name) in pairs]
    deployments = sorted(analysis.results.deployments, key=lambda deployment: deployment.name not in loads)
    return tuple(
        _measured(
            loads[deployment.name],
            analysis,
            [found for found in verdicts if found.subject.name == deployment.name],
            staircases.get(deployment.name) or searches.get(deployment.name),
        )
        if deployment.name in loads
        else _not_measured(deployment, analysis)
        for deployment in deployments
    )


def _not_measured(deployment: Deployment, analysis: Analysis) -> Card:
    """Why a deployment has no figures under load."""
    if deployment.status != STATUS_MEASURED:
        status = words.status(deployment)
        style = "none red" if status == FAILED else "none"
        value = Value(status, deployment.reason or "no reason was given", style)
    else:
        reasons = dict.fromkeys(doubt.text for doubt in analysis.validity.of(deployment.name))
        value = Value("not measured", "; ".join(reasons) or "no run under load was recorded", "none")
    return Card(deployment.title, "var(--line)", (value,), style="unmeasured")


def _measured(
    load: Measurement, analysis: Analysis, verdicts: Sequence[Verdict], at_rates: Staircase | Search | None
) -> Card:
    invalid = analysis.validity.of(load.name)
    style = "none" if invalid else ""
    if analysis.results.has_changes:
        own = [effect for effect in analysis.effects if effect.name == load.name]
        values = [value for effect in own for value in _of_change(effect, style)]
    elif isinstance(at_rates, Staircase):
        values = _of_rates(at_rates, style)
    elif isinstance(at_rates, Search):
        values = [_of_search(at_rates, style)]
    else:
        values = [
            _value(load.summary["median_ms"], 2, " ms", "median response time", style),
            _value(load.summary["throughput_per_s"], 1, " /s", "answers per second", style),
        ]
    if invalid:
        titles = dict.fromkeys(doubt.title for doubt in invalid)
        values.insert(0, Value("not valid", "; ".join(titles), "none red"))
    else:
        values += [_verdict(found) for found in verdicts if found.key in MAIN or found.kind != NONE]
    return Card(load.title, colour(load.name), tuple(values), _counts(load))


def _of_rates(staircase: Staircase, style: str) -> list[Value]:
    """The highest rate that was answered, and the response times there."""
    values = [Value(highest(staircase), f"answered\n{rounds_reaching(staircase)}", style)]
    if staircase.knee is not None:
        values += [
            _value(staircase.knee.estimates[key], 2, " ms", f"{NAMES[key]} at {rate(staircase.knee_per_s)}/s", style)
            for key in ("median_ms", "p95_ms")
        ]
    return values


def _of_search(search: Search, style: str) -> Value:
    """The capacity, and where it comes from."""
    capacity = search.capacity
    if not capacity.is_measured or search.limiting is None:
        return Value(carried(capacity), f"capacity at {search.objective}\n{capacity.missing}", "none")
    interval = low_to_high(capacity)
    said = [f"capacity at {search.limiting.text}", *([f"95% interval {interval}"] if interval else [])]
    rounds = f"{capacity.rounds} round{'s' if capacity.rounds != 1 else ''}"
    return Value(carried(capacity), "\n".join([*said, f"{capacity.n:,} steps {capacity.which}, {rounds}"]), style)


def _of_change(effect: Effect, style: str) -> list[Value]:
    """How many requests a change lost, and how long nothing was answered."""
    lost = f"{effect.total('lost'):,} lost"
    values = [Value(lost, f"of {effect.total('requests'):,} requests: {label(effect)}", style)]
    ends, silent = effect.figure("last_failed_s"), effect.figure("silent_s").estimate
    rounds = f"\nin {ends.never} of {ends.asked} rounds" if ends.asked > 1 else ""
    if ends.never:
        said = "down" if effect.down == ends.never else "errors to the end"
        values.append(Value(said, f"until {until(effect)}{rounds}", style))
    if silent.is_measured and (effect.total("lost") or silent.value >= NOTICED_S):
        values.append(_value(silent, 1, " s", "longest time without an answer", style))
    return values


def _value(estimate: Estimate, digits: int, unit: str, name: str, style: str) -> Value:
    text = words.number(estimate, digits)
    if not estimate.is_measured:
        return Value(text, f"{name}\n{estimate.missing or ''}", "none")
    return Value(text + unit, f"{name}\n{_interval(estimate, digits)}", style)


def _interval(estimate: Estimate, digits: int) -> str:
    if estimate.has_interval:
        return f"95% interval {words.low_to_high(estimate, digits)}"
    return f"no interval from {estimate.rounds} round{'s' if estimate.rounds != 1 else ''}"


def _counts(load: Measurement) -> str:
    """What the card's figures were counted from."""
    requests, failures = load.summary["requests"], load.summary["failures"]
    rounds = f" in {requests.rounds} rounds" if requests.rounds > 1 else ""
    return f"{requests.value:,.0f} requests sent{rounds}, {failures.value:,.0f} failed"


def _verdict(found: Verdict) -> Value:
    """A verdict with its quantity: another quantity of the same pair may have another one."""
    ratio, bracket, interval = words.ratio(found).partition(" (")
    name = NAMES[found.key]
    baseline = words.named(found.baseline)
    detail = (
        f"{name}, {words.ROUND_BY_ROUND}: {ratio} times that of {baseline}{bracket}{interval}"
        if ratio
        else f"{name}, against {baseline}"
    )
    if found.kind in PROVEN:
        return Value(found.kind, detail)
    return Value(found.kind, f"{detail}\n{found.detail}", "none")
