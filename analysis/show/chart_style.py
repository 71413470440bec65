"""What all charts share: colours, bars with intervals, labels, and long series made short."""

from __future__ import annotations

import html
import math
from collections.abc import Sequence
from typing import Any

import pandas as pd
import plotly.graph_objects as go

from analysis.measure.rounds import Estimate, Measurement

COLOURS = {
    "host": "#0072B2",
    "docker": "#E69F00",
    "docker-host-network": "#56B4E9",
    "compose": "#009E73",
    "swarm-1": "#CC79A7",
    "swarm-3": "#D55E00",
}
"""Okabe and Ito's palette: told apart with any kind of colour vision. One deployment, one colour, everywhere."""
OTHER_COLOUR = "#F0E442"
GREY = "#888888"

SYMBOLS = {
    "host": "circle",
    "docker": "square",
    "docker-host-network": "star",
    "compose": "diamond",
    "swarm-1": "triangle-up",
    "swarm-3": "cross",
}
"""Beside the colour, for those who print in grey."""

MOST_POINTS = 600
"""A longer series is drawn as means over so many stretches of equal length."""


def empty_figure() -> go.Figure:
    """A figure without Plotly's own look, which the page gives it."""
    return go.Figure(layout={"template": {}})


def colour(name: str) -> str:
    """A deployment's colour, the same in every chart."""
    return COLOURS.get(name, OTHER_COLOUR)


def title_of(one: Measurement) -> str:
    """Plotly reads tags in names, so a name from outside is escaped for it."""
    return html.escape(one.title)


def add_bars(figure: go.Figure, one: Measurement, bars: Sequence[tuple[str, Estimate]]) -> None:
    """Bars of a deployment's colour with their intervals; what was not measured leaves its place empty."""
    figure.add_bar(
        name=title_of(one),
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
        marker={"color": colour(one.name)},
        customdata=[f"n = {bar.n:,} {bar.of}, {bar.rounds} round{'s' * (bar.rounds != 1)}" for _, bar in bars],
        hovertemplate="%{fullData.name}, %{x}: %{y:.4g}<br>%{customdata}<extra></extra>",
    )


def say_not_measured(figure: go.Figure, label: str) -> None:
    """Words where a bar would stand: an empty place alone could be read as zero."""
    figure.add_annotation(
        x=label, y=0, text="not measured", textangle=-90, showarrow=False, yanchor="bottom", font={"size": 12}
    )


def label_deployments(figure: go.Figure, loads: Sequence[Measurement]) -> None:
    """Upright labels in short lines, which fit a phone, in the order of the deployments also where a bar is missing."""
    labels = [title_of(one) for one in loads]
    margin = max(0.0, (3 - len(labels)) / 2)  # or a lone bar fills the chart
    figure.update_yaxes(rangemode="nonnegative")
    figure.update_xaxes(
        type="category",
        categoryorder="array",
        categoryarray=labels,
        range=[-0.5 - margin, len(labels) - 0.5 + margin],
        tickvals=labels,
        ticktext=[label.replace(" ", "<br>", 1) for label in labels],
        tickangle=0,
        showgrid=False,
    )


def coarse(series: pd.Series) -> pd.Series:
    """A series by second, thinned to ``MOST_POINTS`` means where it is longer."""
    width = math.ceil((series.index.max() + 1) / MOST_POINTS) if len(series) else 1
    return series if width == 1 else series.groupby(series.index // width * width).mean()


def line_or_point(points: int) -> str:
    """How a course over time is drawn: a single second is a point, of which no line can be seen."""
    return "lines" if points > 1 else "markers"


def round_numbers(values: Sequence[float]) -> list[float]:
    """1, 2 and 5 times the powers of ten around ``values``: ticks for a logarithmic axis."""
    positive = [value for value in values if value > 0]
    if not positive:
        return []
    first, last = (math.floor(math.log10(end(positive))) for end in (min, max))
    return [step * 10.0**power for power in range(first, last + 1) for step in (1, 2, 5)] + [10.0 ** (last + 1)]


def or_none(value: Any) -> float | None:
    """Plotly draws nothing for None; NaN is no JSON."""
    return None if value is None or math.isnan(value) else round(float(value), 6)


def _arm(of: Estimate, length: float) -> float | str:
    """One arm of an interval, where both bounds are known.

    Plotly reads None as an arm of length 0, which would claim certainty; words it does not draw.
    """
    return round(length, 6) if of.has_interval else "none"
