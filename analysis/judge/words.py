"""Figures, ratios and verdicts as people read them: shared by the page, Markdown and the terminal."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Sequence
from datetime import UTC, datetime

from analysis.judge.verdicts import FASTER, NONE, SLOWER, Comparison, Verdict
from analysis.measure.quantity import QUANTITIES, Quantity
from analysis.measure.rounds import Estimate, Measurement

PART = "of the part that samples cover"
FIRST_OF_A_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def rounds(loads: Sequence[Measurement], planned: int) -> str:
    """How many rounds were measured, of the plan's where they are fewer."""
    found = max((len(one.rounds) for one in loads), default=0)
    of = f"{found} of {planned:g}" if found < planned else f"{found}"
    return f"{of} round{'s' if max(found, planned) != 1 else ''}"


def number(figure: Estimate, digits: int) -> str:
    """A figure's value, or that it is not measured."""
    return f"{figure.value:,.{digits}f}" if figure.is_measured else "not measured"


def interval(figure: Estimate, digits: int) -> str:
    """What stands below a figure: its interval and n, or why there is none."""
    if not figure.is_measured:
        return figure.missing or ""
    n = f"n = {figure.n:,} {figure.of if figure.n != 1 else figure.of.removesuffix('s')}" + (
        f", {figure.rounds} rounds" if figure.rounds > 1 else ""
    )
    n += f", {PART}" if figure.is_part else ""
    return f"{figure.low:,.{digits}f} to {figure.high:,.{digits}f}\n{n}" if figure.has_interval else n


def ratio(one: Comparison) -> str:
    """A ratio with its interval; nothing where there is no ratio."""
    if math.isnan(one.ratio):
        return ""
    return f"{one.ratio:.2f}" + ("" if math.isnan(one.low) else f" ({one.low:.2f} to {one.high:.2f})")


def p_value(value: float) -> str:
    """A p-value to three digits; one below that is not nought."""
    return "p < 0.001" if value < 0.001 else f"p = {value:.3f}"


def verdict(one: Verdict) -> str:
    """A verdict in a few words, with what it would take or why there is none."""
    if one.kind in (SLOWER, FASTER):
        return one.kind
    return one.detail if one.kind == NONE else f"not distinguishable at this length; {one.detail}"


def time_of_day(stamp: str) -> str:
    """A time of the record (ISO 8601, UTC) as people write it."""
    return datetime.fromisoformat(stamp).astimezone(UTC).strftime("%Y-%m-%d %H:%M UTC")


def rows_of(measured: Sequence[Measurement]) -> list[Quantity]:
    """The figures that at least one of the deployments was asked for, in the order in which they are shown."""
    return [measure for key, measure in QUANTITIES.items() if any(key in one.summary for one in measured)]


def figures_csv(loads: Sequence[Measurement], passes: Sequence[Measurement], verdicts: Sequence[Verdict]) -> str:
    """All figures and ratios as CSV. Missing is an empty field; text that a spreadsheet takes for a formula is not."""
    file = io.StringIO(newline="")
    writer = csv.writer(file, lineterminator="\r\n")
    header = ("run", "round", "deployment", "figure", "unit", "value", "low", "high", "n", "of", "rounds", "note")
    writer.writerow(header)
    for run, measured in (("load", loads), ("single pass", passes)):
        for one in measured:
            for measure in rows_of([one]):
                figure = one.summary[measure.key]
                values = [_cell(value) for value in (figure.value, figure.low, figure.high)]
                tail = [figure.n, figure.of, figure.rounds, _note(figure)]
                writer.writerow([run, "all", _text(one.title), measure.key, measure.unit, *values, *tail])
                for round_number, own in one.rounds.items():
                    each = own.get(measure.key)
                    if each is not None and len(one.rounds) > 1:
                        tail = [each.n, each.of, 1, _note(each)]
                        values = [_cell(each.value), "", ""]
                        cells = [run, round_number, _text(one.title), measure.key, measure.unit, *values, *tail]
                        writer.writerow(cells)
    for verdict_ in verdicts:
        found = verdict_.comparison
        pair = _text(f"{verdict_.one.title} / {verdict_.other.title}")
        values = [_cell(value) for value in (found.ratio, found.low, found.high)]
        note = _text(verdict(verdict_))
        writer.writerow(["load", "all", pair, verdict_.key, "ratio", *values, "", "", found.rounds, note])
    return file.getvalue()


def _cell(value: float) -> str:
    return "" if math.isnan(value) else f"{value:.10g}"


def _note(figure: Estimate) -> str:
    return _text(figure.missing or (PART if figure.is_part else ""))


def _text(value: str) -> str:
    return f"'{value}" if value.startswith(FIRST_OF_A_FORMULA) else value
