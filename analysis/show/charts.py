"""The charts of deployments: each from estimates or binned series, never a point a request."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence

import pandas as pd
import plotly.graph_objects as go

from analysis.judge import words
from analysis.judge.words import is_client_told, is_memory_mixed
from analysis.measure.quantity import HIDDEN, PARTS_OF_TIME, QUANTITIES
from analysis.measure.rounds import Measurement
from analysis.measure.series import cpu_per_second, memory_per_second, throughput_per_second
from analysis.read.runs import Run
from analysis.show.chart_style import (
    GREY,
    add_bars,
    coarse,
    colour,
    empty_chart,
    label_deployments,
    line_or_point,
    or_none,
    say_not_measured,
    say_nothing_measured,
    title_of,
)

ROOM_FOR_WORDS = 1.3
"""The height of a chart with words above its bars, over the height of the highest bar."""
HOST_PATTERN = "/"
"""The pattern of a bar that is counted differently from those beside it."""
INSTRUMENT_PATTERN = "/"
"""The pattern of a part that is no cost of a deployment: the load generator's."""
Loads = Sequence[Measurement]


def by_deployment(loads: Loads, key: str) -> go.Figure:
    """One quantity, one bar per deployment."""
    chart = empty_chart()
    for load in loads:
        name = title_of(load)
        add_bars(chart, load, [(name, load.summary[key])])
        if not load.summary[key].is_measured:
            say_not_measured(chart, name, words.why_missing(load.summary[key]))
    label_deployments(chart, loads)
    unit = QUANTITIES[key].unit
    chart.update_yaxes(title=QUANTITIES[key].title.lower() if unit == "/s" else unit)
    chart.update_layout(showlegend=False)
    return chart


def memory_by_deployment(loads: Loads) -> go.Figure:
    """Mean memory, one bar per deployment. Host process and containers are counted differently and are kept apart."""
    key = "memory_mean_mb"
    chart = by_deployment(loads, key)
    if not is_memory_mixed(loads):
        return chart
    for bar, load in zip(chart.data, loads, strict=True):
        if load.deployment.is_host:
            bar.marker.pattern = {"shape": HOST_PATTERN}
    for place, (left, right) in enumerate(itertools.pairwise(loads)):
        if left.deployment.is_host != right.deployment.is_host:
            edge, height = place + 0.5, 1 / ROOM_FOR_WORDS
            chart.add_shape(x0=edge, x1=edge, y0=0, y1=height, yref="paper", line={"dash": "dot", "color": GREY})
    tops = [value for load in loads for value in (load.summary[key].value, load.summary[key].high) if value > 0]
    chart.update_yaxes(range=[0, ROOM_FOR_WORDS * max(tops, default=1)])
    chart.add_annotation(
        x=0.5,
        y=1,
        xref="paper",
        yref="paper",
        yanchor="top",
        text="Host process and containers are counted<br>differently: do not compare them",
        showarrow=False,
    )
    return chart


def _stacked(loads: Loads, parts: Sequence[tuple[str, str, str]], unit: str, title: str) -> go.Figure:
    """Bars of a deployment's parts on each other: of each part its name, colour and quantity."""
    chart = empty_chart()
    drawn = [part for part in parts if any(load.summary[part[-1]].is_measured for load in loads)]
    for name, own, key in drawn or parts:
        chart.add_bar(
            name=name,
            x=[title_of(load) for load in loads],
            y=[or_none(load.summary[key].value) for load in loads],
            marker={"color": own},
            hovertemplate=f"%{{x}}: %{{y:.2f}} {unit} {name}<extra></extra>",
        )
    for load in loads:
        if not any(load.summary[key].is_measured for *_, key in parts):
            say_not_measured(chart, title_of(load), words.why_missing(load.summary[parts[0][-1]]))
    label_deployments(chart, loads)
    chart.update_layout(barmode="stack")
    chart.update_yaxes(title=title)
    return chart


def where_the_time_goes(loads: Loads) -> go.Figure:
    """The parts of the median response time, stacked per deployment, and the median itself, to which they add up.

    Without a blank, the load generator's own part is not known: then the medians of queue and model and of the rest.
    """
    if not is_client_told(loads):
        parts = (
            ("waiting for the model", "#999999", "queue_ms"),
            ("in the model", "#56B4E9", "inference_ms"),
            ("the rest (HTTP, network, client)", "#F0E442", "rest_ms"),
        )
        return _stacked(loads, parts, "ms", "median, ms")
    colours = ("#BBBBBB", "#F0E442", "#999999", "#56B4E9")
    named = [(name, own, key) for (key, name), own in zip(PARTS_OF_TIME.items(), colours, strict=True)]
    chart = _stacked(loads, named[::-1], "ms", "median, ms")
    chart.update_traces(marker={"pattern": {"shape": INSTRUMENT_PATTERN}}, selector={"name": named[0][0]})
    chart.add_scatter(
        name="median response time",
        x=[title_of(load) for load in loads],
        y=[or_none(load.summary["median_ms"].value) for load in loads],
        mode="markers",
        marker={"symbol": "line-ew-open", "size": 40, "line": {"width": 2}, "color": GREY},
        hovertemplate="%{x}: median %{y:.2f} ms<extra></extra>",
    )
    return chart


def where_the_cpu_goes(loads: Loads) -> go.Figure:
    """CPU time per answer: the service's own, and what is in no container's account, stacked per deployment."""
    colours = ("#D55E00", "#CC79A7", "#E69F00", "#F0E442", "#999999")
    hidden = [(name, own, key) for (key, name), own in zip(HIDDEN.items(), colours, strict=True)]
    return _stacked(loads, [("the service", "#56B4E9", "cpu_ms_per_answer"), *hidden], "CPU-ms", "CPU-ms per answer")


SERIES: dict[str, tuple[Callable[[Run], pd.Series], str]] = {
    "throughput_per_s": (throughput_per_second, "answers per second"),
    "cpu_percent": (cpu_per_second, "CPU in percent of one core"),
    "memory_mean_mb": (lambda run: memory_per_second(run) / 1e6, "MB"),
}
"""Quantity -> its values by second, and their unit."""


def over_time(loads: Loads, key: str) -> go.Figure:
    """Throughput, CPU or memory in each second, one line per deployment: the mean of its rounds."""
    per_second, unit = SERIES[key]
    is_apart = key == "memory_mean_mb" and is_memory_mixed(loads)
    chart = empty_chart()
    for load in loads:
        rounds = [per_second(run) for run in load.deployment.loads.values()]
        series = coarse(pd.concat(rounds).dropna().groupby(level=0).mean())
        chart.add_scatter(
            x=series.index.tolist(),
            y=[or_none(value) for value in series],
            name=title_of(load) + ("" if len(series) else " (not measured)"),
            mode=line_or_point(len(series)),
            line={
                "color": colour(load.name),
                "width": 2,
                "dash": "dot" if is_apart and load.deployment.is_host else None,
            },
            hovertemplate="second %{x}: %{y:.1f}<extra>%{fullData.name}</extra>",
        )
    chart.update_xaxes(title="whole seconds of the measured phase")
    chart.update_yaxes(title=unit, rangemode="tozero")
    if not any(line.x for line in chart.data):
        say_nothing_measured(chart, words.why_missing(loads[0].summary[key]))
    return chart


def traffic(loads: Loads, seen_from: str) -> go.Figure:
    """Bytes into and out of the service in a round's measured phase: of bodies, or through the interfaces."""
    chart = empty_chart()
    for way, pattern in (("in", "/"), ("out", "")):
        chart.add_bar(
            name=way,
            x=[title_of(load) for load in loads],
            y=[or_none(load.summary[f"{seen_from}_{way}_mb"].value) for load in loads],
            marker={"color": [colour(load.name) for load in loads], "pattern": {"shape": pattern}},
            hovertemplate=f"%{{x}}: %{{y:.3f}} MB {way}<extra></extra>",
        )
    for load in loads:
        estimate = load.summary[f"{seen_from}_out_mb"]
        if not estimate.is_measured:
            say_not_measured(chart, title_of(load), words.why_missing(estimate))
    label_deployments(chart, loads)
    chart.update_layout(barmode="group")
    chart.update_yaxes(title="MB in the measured phase of a round")
    return chart
