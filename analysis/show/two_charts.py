"""The charts of two services: each quantity of both in each deployment, and the service's cost beside Docker's."""

from __future__ import annotations

import html
from collections.abc import Iterator, Sequence

import plotly.graph_objects as go

from analysis.judge import words
from analysis.judge.two_findings import Beside
from analysis.judge.two_verdicts import Pair
from analysis.measure.quantity import QUANTITIES
from analysis.show.chart_style import (
    BARS_WIDTH,
    GREY,
    add_named_bars,
    empty_chart,
    label_deployments,
    or_none,
    round_numbers,
    say_not_measured,
    title_of,
)
from analysis.show.latency_charts import LEAST_RATIO_RANGE

COLOURS = ("#0072B2", "#D55E00")
"""Of the first and the second service, from Okabe and Ito's palette."""
PATTERNS = ("", "/")
"""Beside the colours, for those who print in grey."""


def quantity(pairs: Sequence[Pair], services: Sequence[str], key: str) -> go.Figure:
    """One quantity of both services, two bars per deployment."""
    chart = empty_chart()
    for place, service in enumerate(services):
        bars = [(title_of(pair.first), pair.quantities[key].values[place]) for pair in pairs]
        add_named_bars(
            chart, html.escape(service), {"color": COLOURS[place], "pattern": {"shape": PATTERNS[place]}}, bars
        )
        for number, (_, bar) in enumerate(bars):
            if not bar.is_measured:
                middle = number + BARS_WIDTH * ((place + 0.5) / len(services) - 0.5)
                say_not_measured(chart, middle, words.number(bar, 0))
    label_deployments(chart, [pair.first for pair in pairs])
    unit = QUANTITIES[key].unit
    chart.update_yaxes(title="answers per second" if unit == "/s" else unit)
    chart.update_layout(barmode="group", bargap=1 - BARS_WIDTH)
    return chart


def service_beside_docker(besides: Sequence[Beside]) -> go.Figure:
    """The ratio of the services as host processes on top, and below it that of each container with each service. The
    axis is logarithmic, as half and twice as long are equally far from 1."""
    chart = empty_chart()
    rows = [*_rows(besides)]
    for label, colour, (ratio, low, high) in rows:
        chart.add_scatter(
            x=[or_none(ratio)],
            y=[label],
            mode="markers",
            marker={"color": colour, "size": 12},
            error_x={
                "type": "data",
                "symmetric": False,
                "array": [round(high - ratio, 6)],
                "arrayminus": [round(ratio - low, 6)],
                "color": colour,
                "thickness": 3,
            },
            hovertemplate=f"{label}: %{{x:.3f}}<extra></extra>",
            showlegend=False,
        )
    chart.add_vline(x=1, line={"dash": "dash", "color": GREY})
    chart.add_scatter(
        x=LEAST_RATIO_RANGE, y=[rows[0][0]] * 2, mode="markers", opacity=0, hoverinfo="skip", showlegend=False
    )
    ticks = round_numbers([*LEAST_RATIO_RANGE, *(bound for *_, (_, *bounds) in rows for bound in bounds)])
    chart.update_xaxes(
        title="faster ← 1 → slower", type="log", tickvals=ticks, ticktext=[f"{tick:g}" for tick in ticks]
    )
    chart.update_yaxes(categoryorder="array", categoryarray=[label for label, *_ in rows][::-1], showgrid=False)
    return chart


def _rows(besides: Sequence[Beside]) -> Iterator[tuple[str, str, tuple[float, float, float]]]:
    """Label, colour, and ratio with its interval. The first row is the same for all containers."""
    first = besides[0]
    yield f"<b>{html.escape(first.slow)} against<br>{html.escape(first.fast)}</b>", GREY, first.ratio
    for beside in besides:
        for (service, found), colour in zip(beside.containers, COLOURS, strict=True):
            label = f"{html.escape(beside.container)} against host,<br>{html.escape(service)}"
            yield label, colour, (found.ratio, found.low, found.high)
