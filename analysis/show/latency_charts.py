"""The charts of response times: ratios, percentiles, rounds, and all times; never a point a request."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go

from analysis.judge import words
from analysis.judge.verdicts import Verdict
from analysis.measure.quantity import QUANTITIES
from analysis.measure.rounds import Measurement
from analysis.read.runs import Run
from analysis.show.chart_style import (
    BARS_WIDTH,
    GREY,
    MOST_POINTS,
    SYMBOLS,
    add_bars,
    colour,
    empty_chart,
    line_or_point,
    or_none,
    round_numbers,
    say_not_measured,
    title_of,
)

Loads = Sequence[Measurement]
ECDF_POINTS = 200
FEW_BARS = 3
"""A group with no more bars has room for a reason in the place of one."""
LEAST_RATIO_RANGE = (0.95, 1.05)
"""The chart of ratios reaches at least from here to there, so that a tiny difference does not look large."""
LEAST_LOG_SPAN = 3
"""A logarithmic axis reaches at least from a time to this many times it."""


def ratios(verdicts: Sequence[Verdict]) -> go.Figure:
    """Ratios of one quantity with their intervals around 1, one row per pair, the first pair on top."""
    chart = empty_chart()
    rows = [f"{title_of(verdict.subject)} against<br>{title_of(verdict.baseline)}" for verdict in verdicts]
    for row, verdict in zip(rows, verdicts, strict=True):
        comparison = verdict.comparison
        known = comparison.has_interval
        chart.add_scatter(
            x=[or_none(comparison.ratio)],
            y=[row],
            mode="markers",
            marker={
                "color": colour(verdict.subject.name),
                "size": 12,
                "symbol": SYMBOLS.get(verdict.subject.name, "circle") + ("" if verdict.p_value < 0.05 else "-open"),
            },
            error_x={
                "type": "data",
                "symmetric": False,
                "array": [round(comparison.high - comparison.ratio, 6) if known else "none"],
                "arrayminus": [round(comparison.ratio - comparison.low, 6) if known else "none"],
                "color": colour(verdict.subject.name),
                "thickness": 3,
            },
            hovertemplate=f"{row}: %{{x:.3f}}, {comparison.rounds} rounds<br>{verdict.kind}<extra></extra>",
            showlegend=False,
        )
    chart.add_vline(x=1, line={"dash": "dash", "color": GREY})
    chart.add_scatter(
        x=LEAST_RATIO_RANGE, y=[rows[0]] * 2, mode="markers", opacity=0, hoverinfo="skip", showlegend=False
    )
    chart.update_xaxes(title="faster ← 1 → slower")
    chart.update_yaxes(categoryorder="array", categoryarray=rows[::-1], showgrid=False)
    return chart


def by_round(loads: Loads, key: str) -> go.Figure:
    """One quantity of each round, one line per deployment."""
    chart = empty_chart()
    for load in loads:
        values = load.values(key)
        chart.add_scatter(
            x=list(values),
            y=[or_none(value) for value in values.values()],
            name=title_of(load),
            mode="lines+markers",
            line={"color": colour(load.name), "width": 1.5},
            marker={"symbol": SYMBOLS.get(load.name, "circle"), "size": 9},
            hovertemplate="round %{x}: %{y:.2f}<extra>%{fullData.name}</extra>",
        )
    chart.update_xaxes(title="round", dtick=1 if max((len(load.rounds) for load in loads), default=0) < 12 else None)
    chart.update_yaxes(title=f"{QUANTITIES[key].title.lower()}, {QUANTITIES[key].unit}", rangemode="tozero")
    return chart


def latency_distribution(measured: Loads, runs_of: Callable[[Measurement], Sequence[Run]]) -> go.Figure:
    """The share of requests answered within a time, one line per deployment, drawn from 200 quantiles each."""
    chart = empty_chart()
    shares = np.linspace(0, 1, ECDF_POINTS + 1)
    shown: list[float] = []
    for measurement in measured:
        times = np.concatenate([_times(run)[1] for run in runs_of(measurement)] or [np.array([])])
        if len(times):
            times.sort()
            quantiles = np.quantile(times, shares, overwrite_input=True).round(3).tolist()
            shown += [quantiles[0], quantiles[-1]]
            chart.add_scatter(
                x=quantiles,
                y=(shares * 100).round(2).tolist(),
                name=f"{title_of(measurement)} (n = {len(times):,})",
                mode="lines",
                line={"color": colour(measurement.name), "width": 2.5},
                hovertemplate="%{y:.1f}% within %{x:.2f} ms<extra></extra>",
            )
    chart.update_xaxes(**_axis_of_times(shown))
    chart.update_yaxes(title="% of requests answered", range=[0, 101])
    return chart


def _axis_of_times(shown: Sequence[float]) -> dict[str, Any]:
    """A logarithmic axis, unless the times lie so close together that a linear one has better ticks."""
    if shown and max(shown) < LEAST_LOG_SPAN * min(shown):
        return {"title": "response time in ms"}
    ticks = round_numbers(shown)
    texts = [f"{tick:g}" for tick in ticks]
    return {"title": "response time in ms (logarithmic)", "type": "log", "tickvals": ticks, "ticktext": texts}


def percentiles(loads: Loads) -> go.Figure:
    """Median, p95 and p99 of each deployment with their intervals."""
    chart = empty_chart()
    names = {"median_ms": "median", "p95_ms": "p95", "p99_ms": "p99"}
    for load in loads:
        add_bars(chart, load, [(label, load.summary[key]) for key, label in names.items()])
    for place, key in enumerate(names):
        _say_missing(chart, loads, key, place)
    chart.update_xaxes(showgrid=False)
    chart.update_yaxes(title="response time in ms")
    chart.update_layout(barmode="group", bargap=1 - BARS_WIDTH)
    return chart


def _say_missing(chart: go.Figure, loads: Loads, key: str, place: int) -> None:
    """Write why bars are missing in a group; where the whole group is empty, once for all of them."""
    missing = [number for number, load in enumerate(loads) if not load.summary[key].is_measured]
    if missing and len(missing) == len(loads):
        say_not_measured(chart, place, words.why_missing(loads[0].summary[key]))
        return
    for number in missing:
        middle = place - BARS_WIDTH / 2 + BARS_WIDTH * (number + 0.5) / len(loads)
        estimate = loads[number].summary[key]
        said = words.why_missing(estimate) if len(loads) <= FEW_BARS else words.number(estimate, 0)
        say_not_measured(chart, middle, said)


def percentiles_over_time(loads: Loads) -> go.Figure:
    """Median and p95 of the requests sent in each second (or longer stretch), those of all rounds together."""
    chart = empty_chart()
    for number, load in enumerate(loads):
        series = [_times(run) for run in load.deployment.loads.values()]
        at, times = (_joined([part[place] for part in series]) for place in (0, 1))
        x, both = _binned_quantiles(at, times, (0.5, 0.95))
        for y, dash, label in zip(both, ("solid", "dot"), ("median", "p95"), strict=True):
            chart.add_scatter(
                x=x.tolist(),
                y=y.round(3).tolist(),
                name=title_of(load),
                legendgroup=f"deployment {number}",
                showlegend=label == "median",
                mode=line_or_point(len(x)),
                line={"color": colour(load.name), "width": 2, "dash": dash},
                hovertemplate=f"second %{{x}}: %{{y:.2f}} ms<extra>%{{fullData.name}}, {label}</extra>",
            )
    chart.update_xaxes(title="seconds of the measured phase")
    chart.update_yaxes(title="response time in ms", rangemode="tozero")
    return chart


def _joined(parts: Sequence[np.ndarray]) -> np.ndarray:
    """All values of all parts; no copy of a single part."""
    return parts[0] if len(parts) == 1 else np.concatenate(parts)


def _times(run: Run) -> tuple[np.ndarray, np.ndarray]:
    """Of each answered request: when it was sent, in seconds of the measured phase, and its time in ms."""
    start, _ = run.window_unix_s
    return run.answered["started_at_unix_s"].to_numpy() - start, run.answered["response_time_ms"].to_numpy()


def _binned_quantiles(
    at: np.ndarray, values: np.ndarray, quantiles: Sequence[float]
) -> tuple[np.ndarray, list[np.ndarray]]:
    """Quantiles of the values in each second, or in each of ``MOST_POINTS`` stretches where there are more."""
    width = max(1, int(np.ceil((at.max(initial=0) + 1) / MOST_POINTS)))
    np.maximum(at, 0, out=at)
    at /= width
    place = at.astype(np.uint16)  # so few that NumPy sorts them by counting
    if (place[1:] < place[:-1]).any():  # several rounds
        order = np.argsort(place, kind="stable")
        place, values = place[order], values[order]
    edges = np.arange(int(place[-1]) + 2 if len(place) else 1, dtype=place.dtype)
    counts = np.diff(np.searchsorted(place, edges))  # np.bincount would make a copy with eight bytes for each
    bins = np.split(values, np.cumsum(counts)[:-1])
    found = []
    for own in filter(len, bins):
        ranks = [min(int(q * len(own)), len(own) - 1) for q in quantiles]  # the nearest rank: one of the values
        found.append(np.partition(own, ranks)[ranks])
    return np.flatnonzero(counts) * width, list(np.array(found).reshape(-1, len(quantiles)).T)
