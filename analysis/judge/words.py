"""Estimates, ratios and verdicts as people read them: shared by the page, Markdown and the terminal."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime

from analysis.judge.verdicts import FASTER, NONE, SLOWER, Comparison, Verdict
from analysis.measure.quantity import QUANTITIES, Estimate, Quantity
from analysis.measure.rounds import Measurement

PART = "of the part that samples cover"
TWO_ROUNDS = "two rounds: no interval is shown, measure at least three"
FIRST_OF_A_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def rounds(loads: Sequence[Measurement], planned: int) -> str:
    """How many rounds were measured and, where that is fewer than planned, how many were planned."""
    found = max((len(load.rounds) for load in loads), default=0)
    of = f"{found} of {planned:g}" if found < planned else f"{found}"
    return f"{of} round{'s' if max(found, planned) != 1 else ''}"


def number(estimate: Estimate, digits: int) -> str:
    """An estimate's value, or that it is not measured."""
    return f"{estimate.value:,.{digits}f}" if estimate.is_measured else "not measured"


def interval(estimate: Estimate, digits: int) -> str:
    """What is written below an estimate: its interval, or why there is none, and what n counts."""
    if not estimate.is_measured:
        return estimate.missing or ""
    bounds = low_to_high(estimate, digits)
    return f"{bounds}\n{_counted(estimate)}" if bounds else _counted(estimate)


def low_to_high(estimate: Estimate, digits: int) -> str:
    """The interval, or why it is not shown; nothing for a count or one round, which have none."""
    if estimate.has_interval:
        return f"{estimate.low:,.{digits}f} to {estimate.high:,.{digits}f}"
    return "" if math.isnan(estimate.high) else TWO_ROUNDS


def _counted(estimate: Estimate) -> str:
    name = estimate.of if estimate.n != 1 else estimate.of.removesuffix("s")
    n = f"n = {estimate.n:,} {name} {estimate.which}".rstrip()
    n += f", {estimate.rounds} rounds" if estimate.rounds > 1 else ""
    return n + (f", {PART}" if estimate.is_part else "")


def ratio(comparison: Comparison) -> str:
    """A ratio with its interval, or why that is not shown; nothing where there is no ratio."""
    if math.isnan(comparison.ratio):
        return ""
    if comparison.has_interval:
        return f"{comparison.ratio:.2f} ({comparison.low:.2f} to {comparison.high:.2f})"
    return f"{comparison.ratio:.2f}" + ("" if math.isnan(comparison.low) else f" ({TWO_ROUNDS})")


def p_value(value: float) -> str:
    """A p-value to three digits; a smaller one is not called 0."""
    return "p < 0.001" if value < 0.001 else f"p = {value:.3f}"


def verdict(found: Verdict) -> str:
    """A verdict in a few words: with how many rounds would be enough, or why there is none."""
    if found.kind in (SLOWER, FASTER):
        return found.kind
    return found.detail if found.kind == NONE else f"{found.kind}; {found.detail}"


def time_of_day(stamp: str) -> str:
    """A time of the record (ISO 8601, UTC) as people write it."""
    return datetime.fromisoformat(stamp).astimezone(UTC).strftime("%Y-%m-%d %H:%M UTC")


def rows_of(measurements: Sequence[Measurement]) -> list[Quantity]:
    """The quantities that at least one of the deployments was asked for, in the order in which they are shown."""
    return [
        quantity
        for key, quantity in QUANTITIES.items()
        if any(key in measurement.summary for measurement in measurements)
    ]


def figures_csv(loads: Sequence[Measurement], passes: Sequence[Measurement], verdicts: Sequence[Verdict]) -> str:
    """All estimates and ratios as CSV. What is missing is an empty field. No text is a formula to a spreadsheet."""
    file = io.StringIO(newline="")
    writer = csv.writer(file, lineterminator="\r\n")
    header = ("run", "round", "deployment", "figure", "unit", "value", "low", "high", "n", "of", "rounds", "note")
    writer.writerow(header)
    for run, measurements in (("load", loads), ("single pass", passes)):
        for measurement in measurements:
            writer.writerows(_csv_rows(run, measurement))
    for found in verdicts:
        pair = _text(f"{found.subject.title} / {found.baseline.title}")
        values = [_cell(value) for value in (found.comparison.ratio, found.comparison.low, found.comparison.high)]
        note = _text(verdict(found))
        writer.writerow(["load", "all", pair, found.key, "ratio", *values, "", "", found.comparison.rounds, note])
    return file.getvalue()


def _csv_rows(run: str, measurement: Measurement) -> Iterator[list[object]]:
    """A row for each quantity over all rounds and, where there are several, for each round."""
    title = _text(measurement.title)
    for quantity in rows_of([measurement]):
        over_all = measurement.summary[quantity.key]
        values = [_cell(value) for value in (over_all.value, over_all.low, over_all.high)]
        tail = [over_all.n, over_all.of, over_all.rounds, _note(over_all)]
        yield [run, "all", title, quantity.key, quantity.unit, *values, *tail]
        for number_of_round, estimates in measurement.rounds.items() if len(measurement.rounds) > 1 else ():
            own = estimates.get(quantity.key)
            if own is not None:
                tail = [own.n, own.of, 1, _note(own)]
                yield [run, number_of_round, title, quantity.key, quantity.unit, _cell(own.value), "", "", *tail]


def _cell(value: float) -> str:
    return "" if math.isnan(value) else f"{value:.10g}"


def _note(estimate: Estimate) -> str:
    return _text(estimate.missing or (PART if estimate.is_part else ""))


def _text(value: str) -> str:
    return f"'{value}" if value.startswith(FIRST_OF_A_FORMULA) else value
