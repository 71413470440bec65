"""What all charts share: colours, bars with intervals, labels, reasons in empty places, and shortened series."""

from __future__ import annotations

import html
import json
import math
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from analysis.measure.quantity import Estimate
from analysis.measure.rounds import Measurement

COLOURS = {
    "host": "#0072B2",
    "docker": "#E69F00",
    "docker-host-network": "#56B4E9",
    "compose": "#009E73",
    "compose-3": "#117733",
    "swarm-1": "#CC79A7",
    "swarm-3": "#D55E00",
}
"""Okabe and Ito's palette: told apart with any kind of colour vision. One deployment, one colour, everywhere."""
OTHER_COLOURS = ("#F0E442", "#332288", "#88CCEE", "#882255", "#661100", "#6699CC", "#888800")
"""For other numbers of replicas (most are of Tol's palettes): those of seven in a row differ."""
GREY = "#888888"

SYMBOLS = {
    "host": "circle",
    "docker": "square",
    "docker-host-network": "star",
    "compose": "diamond",
    "compose-3": "pentagon",
    "swarm-1": "triangle-up",
    "swarm-3": "cross",
}
"""Beside the colour, for those who print in grey."""

BARS_WIDTH = 0.8
"""The part of a label's place that its group of bars takes."""
MOST_POINTS = 600
"""A longer series is divided into so many parts of equal length, and their means are drawn."""

FEW_TICKS = 4

LABEL_WIDTH = 10
"""Characters in a line of a label, after the first word: on a phone four labels fit side by side."""

REASON_WIDTH, REASON_LINES = 38, 3
"""A reason in an empty place of a chart: characters a line, and lines. The tables give reasons in full."""


def empty_chart() -> go.Figure:
    """A chart without Plotly's own look, which the page gives it."""
    return go.Figure(layout={"template": {}})


def plot_of(chart: go.Figure) -> dict[str, Any]:
    """A chart as Plotly's JSON."""
    plot: dict[str, Any] = json.loads(chart.to_json(engine="json"))
    return plot


def colour(name: str) -> str:
    """A deployment's colour, the same in every chart."""
    number = name.rpartition("-")[-1]
    other = OTHER_COLOURS[int(number) % len(OTHER_COLOURS) if number.isdecimal() else 0]
    return COLOURS.get(name, other)


def title_of(measurement: Measurement) -> str:
    """Plotly reads tags in names, so a name from outside is escaped for it."""
    return html.escape(measurement.title)


def add_bars(chart: go.Figure, measurement: Measurement, bars: Sequence[tuple[str, Estimate]]) -> None:
    """Bars in a deployment's colour with their intervals. The place of a missing estimate stays empty."""
    add_named_bars(chart, title_of(measurement), {"color": colour(measurement.name)}, bars)


def add_named_bars(
    chart: go.Figure, name: str, marker: Mapping[str, Any], bars: Sequence[tuple[str, Estimate]]
) -> None:
    """Bars with their intervals under a name, which is escaped; ``marker`` is Plotly's."""
    chart.add_bar(
        name=name,
        x=[label for label, _ in bars],
        y=[or_none(bar.value) for _, bar in bars],
        error_y={
            "type": "data",
            "symmetric": False,
            "array": [_arm(bar, bar.high - bar.value) for _, bar in bars],
            "arrayminus": [_arm(bar, bar.value - bar.low) for _, bar in bars],
            "thickness": 1.5,
            "color": GREY,
        },
        marker=dict(marker),
        customdata=[f"n = {bar.n:,} {bar.of}, {bar.rounds} round{'s' * (bar.rounds != 1)}" for _, bar in bars],
        hovertemplate="%{fullData.name}, %{x}: %{y:.4g}<br>%{customdata}<extra></extra>",
    )


def say_not_measured(chart: go.Figure, place: str | float, said: str) -> None:
    """Write why there is no number upwards in the place of a bar: an empty place alone could be read as zero.

    ``place`` is the bar's label or, for a bar beside its label's middle, a number: 0 is the first label, 1 the next.
    """
    chart.add_annotation(
        x=place,
        y=0,
        yref="paper",
        text=_in_lines(said),
        textangle=-90,
        showarrow=False,
        yanchor="bottom",
        align="left",
        font={"size": 11},
    )


def say_nothing_measured(chart: go.Figure, said: str) -> None:
    """Write why there is no number in the middle of an empty chart."""
    place = {"xref": "paper", "yref": "paper", "x": 0.5, "y": 0.5}
    chart.add_annotation(**place, text=_in_lines(said), showarrow=False, font={"size": 12})


def _in_lines(said: str) -> str:
    lines = textwrap.wrap(said, REASON_WIDTH, max_lines=REASON_LINES, placeholder=" ...")
    return "<br>".join(html.escape(line) for line in lines)


def label_deployments(chart: go.Figure, loads: Sequence[Measurement]) -> None:
    """Upright labels in short lines, which fit a phone, in the order of the deployments also where a bar is missing."""
    labels = [title_of(load) for load in loads]
    margin = max(0.0, (3 - len(labels)) / 2)  # or a lone bar fills the chart
    chart.update_yaxes(rangemode="nonnegative")
    chart.update_xaxes(
        type="category",
        categoryorder="array",
        categoryarray=labels,
        range=[-0.5 - margin, len(labels) - 0.5 + margin],
        tickvals=labels,
        ticktext=[_short_lines(label) for label in labels],
        tickangle=0,
        showgrid=False,
    )


def _short_lines(label: str) -> str:
    first, _, rest = label.partition(" ")
    return "<br>".join([first, *textwrap.wrap(rest, LABEL_WIDTH, break_long_words=False)])


def coarse(series: pd.Series) -> pd.Series:
    """A series by second, thinned to ``MOST_POINTS`` means where it is longer."""
    width = math.ceil((series.index.max() + 1) / MOST_POINTS) if len(series) else 1
    return series if width == 1 else series.groupby(series.index // width * width).mean()


def line_or_point(points: int) -> str:
    """How a series over time is drawn: a single second gives no line, so it is drawn as a point."""
    return "lines" if points > 1 else "markers"


def round_numbers(values: Sequence[float]) -> list[float]:
    """Ticks for a logarithmic axis: 1, 2 and 5 times the powers of ten around ``values``, or a few numbers between the
    least and the largest value where hardly any of those lie between them."""
    positive = [value for value in values if value > 0]
    if not positive:
        return []
    least, largest = min(positive), max(positive)
    powers = range(math.floor(math.log10(least)), math.floor(math.log10(largest)) + 2)
    ticks = [step * 10.0**power for power in powers for step in (1, 2, 5)]
    if sum(least <= tick <= largest for tick in ticks) < 2:
        return [float(f"{value:.2g}") for value in np.linspace(least, largest, FEW_TICKS)]
    return ticks


def or_none(value: Any) -> float | None:
    """Plotly draws nothing for None; NaN is no JSON."""
    return None if value is None or math.isnan(value) else round(float(value), 6)


def _arm(estimate: Estimate, length: float) -> float | str:
    """One arm of an interval that is shown.

    Plotly draws None as an arm of length 0, which would claim certainty. It does not draw text.
    """
    return round(length, 6) if estimate.has_interval else "none"
