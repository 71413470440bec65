"""The timeline of a load with planned changes: answers, response times and replicas of one round of a deployment."""

from __future__ import annotations

import html
import math
from typing import Any

import numpy as np
import plotly.graph_objects as go

from analysis.measure.effects import Drawn
from analysis.measure.recovery import Recovery
from analysis.measure.timeline import Life, Timeline, lives_of, timeline_of
from analysis.read.runs import Run
from analysis.show.chart_style import GREY, MOST_POINTS, colour, empty_chart, round_numbers
from runfiles.events import ENDS

FAILED = "#C62828"
SHADE = "rgba(136, 136, 136, 0.22)"
ANSWERS, TIMES, REPLICAS = (0.70, 1.0), (0.29, 0.58), (0.0, 0.21)
"""Where the three parts stand, from the lower to the upper edge of the chart."""
WORDS_AT = (0.665, 0.615)
"""Where the words of the changes stand, in turn: between the first and the second part."""
LONGEST_NAME = 12
"""Characters of a replica's name beside its bar: its end, which differs. The text at the mouse has it whole."""
BAR, NEW_BAR = 11, 6
"""How thick the bar of a replica is that was there when the load began, and of one that was started later."""


def timeline_chart(drawn: Drawn) -> go.Figure:
    """One round: above, answered and failed requests in each second; in the middle, median and p95; below, when each
    replica was there. Changes are upright lines; the time until all was as before is shaded."""
    run = drawn.measurement.deployment.loads[drawn.number]
    timeline = timeline_of(run)
    chart = empty_chart()
    seconds = np.arange(len(timeline.answered))
    width = max(1, math.ceil(len(seconds) / MOST_POINTS))
    _add_counts(chart, timeline, seconds, width, colour(drawn.measurement.name))
    shown = _add_times(chart, timeline, seconds, width, colour(drawn.measurement.name))
    names = _add_replicas(chart, lives_of(run), colour(drawn.measurement.name))
    _add_changes(chart, run, drawn)
    ticks = round_numbers(shown)
    chart.update_layout(
        barmode="stack",
        bargap=0,
        xaxis={
            "title": "seconds since the measured part began",
            "range": [0, len(seconds)],
            "anchor": "y3" if names else "y2",
        },
        yaxis={"title": "requests per s", "domain": ANSWERS, "rangemode": "tozero", "nticks": 5},
        yaxis2={
            "title": "ms (logarithmic)",
            "domain": TIMES if names else (0.0, TIMES[1]),
            "type": "log",
            "tickvals": ticks,
            "ticktext": [f"{tick:g}" for tick in ticks],
        },
    )
    if names:
        chart.update_layout(yaxis3=_replica_axis(names))
    return chart


def _replica_axis(names: list[str]) -> dict[str, Any]:
    return {
        "domain": REPLICAS,
        "tickvals": [*range(len(names))],
        "ticktext": [html.escape(_short(name)) for name in names],
        "range": [len(names) - 0.4, -0.6],
        "showgrid": False,
        "zeroline": False,
    }


def _short(name: str) -> str:
    return name if len(name) <= LONGEST_NAME else f"\N{HORIZONTAL ELLIPSIS}{name[1 - LONGEST_NAME :]}"


def _thinned(values: np.ndarray, width: int) -> np.ndarray:
    """Means of so many seconds each; those without a value are left out of them."""
    if width == 1:
        return values
    filled = np.append(values.astype(float), np.full(-len(values) % width, np.nan)).reshape(-1, width)
    is_told = ~np.isnan(filled)
    sums = np.where(is_told, filled, 0).sum(axis=1)
    return np.where(is_told.any(axis=1), sums / np.maximum(is_told.sum(axis=1), 1), np.nan)


def _add_counts(chart: go.Figure, timeline: Timeline, seconds: np.ndarray, width: int, own: str) -> None:
    series = (("answered", timeline.answered, own), ("failed", timeline.failed, FAILED))
    for name, counts, fill in series:
        stripes = {"shape": "/", "fillmode": "replace", "bgcolor": fill, "fgcolor": "white", "size": 6, "solidity": 0.2}
        chart.add_bar(
            x=[float(second) + width / 2 for second in seconds[::width]],
            y=[round(float(count), 2) for count in _thinned(counts, width)],
            width=width,
            name=name,
            marker={"color": fill, "pattern": stripes if name == "failed" else {}, "line": {"width": 0}},
            hovertemplate=f"%{{y:g}} {name} in this second<extra></extra>",
        )


def _add_times(chart: go.Figure, timeline: Timeline, seconds: np.ndarray, width: int, own: str) -> list[float]:
    """Median and p95; returns the values."""
    shown: list[float] = []
    for name, values, line in (
        ("median", timeline.median_ms, {"width": 2.5}),
        ("p95", timeline.p95_ms, {"dash": "dot", "width": 1.5}),
    ):
        thinned = _thinned(values, width)
        chart.add_scatter(
            x=[float(second) + width / 2 for second in seconds[::width]],
            y=[None if math.isnan(value) else round(float(value), 3) for value in thinned],
            yaxis="y2",
            name=name,
            mode="lines+markers",
            marker={"size": 3.5},
            line={"color": own, **line},
            hovertemplate=f"{name} %{{y:.2f}} ms<extra></extra>",
        )
        shown += [float(value) for value in thinned if not math.isnan(value)]
    return shown


def _add_replicas(chart: go.Figure, lives: list[Life], own: str) -> list[str]:
    """A row for each name, with a bar for each life; a cross where it ended. Returns the names from the top on."""
    names = list(dict.fromkeys(life.replica for life in lives))
    for life in lives:
        row = names.index(life.replica)
        began = f"started at {life.from_s:.1f} s" if life.is_new else "was there at the beginning"
        ended = f"ended at {life.to_s:.1f} s" if life.ended else "there at the end"
        chart.add_scatter(
            x=[life.from_s, life.to_s],
            y=[row, row],
            yaxis="y3",
            mode="lines+markers",
            line={"color": own, "width": NEW_BAR if life.is_new else BAR},
            marker={
                "symbol": ["triangle-right", "x"],
                "size": [10 if life.is_new else 0, 9 if life.ended else 0],
                "color": [own, FAILED],
                "opacity": 1,
                "line": {"width": 0},
            },
            showlegend=False,
            hovertemplate=f"{html.escape(life.replica)}: {began}, {ended}<extra></extra>",
        )
    return names


def _add_changes(chart: go.Figure, run: Run, drawn: Drawn) -> None:
    """An upright line with its word for each change, and the shade until all was as before."""
    start = run.window_unix_s[0]
    marks: list[tuple[float, str]] = []
    for recovery in drawn.recoveries:
        at_s = recovery.change.began_unix_s - start
        _shade(chart, at_s, recovery)
        marks.append((at_s, recovery.change.action))
        over_s = recovery.change.over_unix_s - start
        marks += [] if math.isnan(over_s) else [(over_s, ENDS[recovery.change.action])]
    for place, (at_s, word) in enumerate(marks):
        _mark(chart, at_s, word, WORDS_AT[place % len(WORDS_AT)])


def _shade(chart: go.Figure, at_s: float, recovery: Recovery) -> None:
    length_s = recovered_after_s(recovery)
    if length_s > 0:
        chart.add_shape(
            type="rect",
            layer="below",
            x0=at_s,
            x1=at_s + length_s,
            y0=0,
            y1=1,
            yref="paper",
            fillcolor=SHADE,
            line={"width": 0},
        )


def recovered_after_s(recovery: Recovery) -> float:
    """How long after a change all was as before: requests were served again, and latency was back; the whole span if
    one of them was not."""
    both = [recovery.times[key] for key in ("served_again_s", "latency_back_s")]
    if any(outcome.is_never for outcome in both):
        return recovery.length_s
    return max((outcome.value for outcome in both if outcome.is_told), default=0.0)


def _mark(chart: go.Figure, at_s: float, word: str, height: float) -> None:
    line = {"color": GREY, "width": 1.5, "dash": "dash"}
    chart.add_shape(type="line", x0=at_s, x1=at_s, y0=0, y1=1, yref="paper", line=line)
    chart.add_annotation(
        x=at_s,
        y=height,
        yref="paper",
        text=f"<b>{html.escape(word)}</b>",
        xanchor="left",
        yanchor="middle",
        xshift=3,
        showarrow=False,
        font={"size": 12},
    )
