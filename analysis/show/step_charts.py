"""The charts of a staircase: response times and answers per second at each rate."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import plotly.graph_objects as go

from analysis.measure.quantity import Estimate
from analysis.measure.steps import ANSWERED, NOT_KEPT, OVERLOADED, Staircase
from analysis.show.chart_style import GREY, SYMBOLS, colour, empty_chart, or_none, round_numbers, title_of

LINES = (("median_ms", "median", "solid"), ("p95_ms", "p95", "dot"), ("p99_ms", "p99", "dash"))
"""The percentiles that are drawn: their names, and how their lines look."""
FEW_RATES = 7
"""With no more rates each is a tick of the axis."""
WIDE = 20
"""If the highest rate is more than so many times the lowest, the chart of the answers has logarithmic axes: on linear
ones the low rates would be one heap."""
RING = "highest rate answered in most rounds"
Staircases = Sequence[Staircase]


def response_times(staircases: Staircases) -> go.Figure:
    """Median, p95 and p99 at each rate, a line each for each deployment; a ring around p95 at the knee, or around the
    median where p95 is not shown."""
    chart = empty_chart()
    shown: list[float] = []
    for number, staircase in enumerate(staircases):
        for key, name, dash in LINES:
            is_first = key == LINES[0][0]
            values = _add_line(chart, staircase, key, {"dash": dash, "width": 2.5 if is_first else 1.5})
            chart.data[-1].update(
                legendgroup=f"deployment {number}",
                showlegend=is_first,
                hovertemplate=f"%{{x:,}}/s: {name} %{{y:.2f}} ms<extra>%{{fullData.name}}</extra>",
            )
            shown += values
        knee = staircase.knee
        is_told = knee is not None and knee.estimates["p95_ms"].is_measured
        _add_ring(chart, staircase, "p95_ms" if is_told else "median_ms", number)
    chart.update_xaxes(**_rates(staircases))
    chart.update_yaxes(**_logarithmic(shown), title="response time in ms")
    return chart


def answers(staircases: Staircases) -> go.Figure:
    """Answers per second at each rate, a line for each deployment, and a dashed one on which all requests are answered
    at once."""
    chart = empty_chart()
    rates = _all_rates(staircases)
    ideal = {"color": GREY, "dash": "dash"}
    ends = [min(rates) if is_wide(staircases) else 0, max(rates)]
    shown = [*ends]
    chart.add_scatter(x=ends, y=ends, mode="lines", line=ideal, hoverinfo="skip", showlegend=False)
    for number, staircase in enumerate(staircases):
        shown += _add_line(chart, staircase, "throughput_per_s", {"width": 2.5})
        chart.data[-1].update(
            legendgroup=f"deployment {number}",
            hovertemplate="%{x:,}/s: %{y:.1f} answers per second<extra>%{fullData.name}</extra>",
        )
        _add_ring(chart, staircase, "throughput_per_s", number)
    if is_wide(staircases):
        chart.update_xaxes(**_rates(staircases))
        chart.update_yaxes(**_logarithmic(shown), title="answers per second (logarithmic)")
    else:
        chart.update_xaxes(title="requests due per second", rangemode="tozero")
        chart.update_yaxes(title="answers per second", rangemode="tozero")
    return chart


def is_wide(staircases: Staircases) -> bool:
    """Whether the rates are so far apart that the chart of the answers needs logarithmic axes."""
    rates = _all_rates(staircases)
    return max(rates) > WIDE * min(rates)


def _add_line(chart: go.Figure, staircase: Staircase, key: str, line: dict[str, Any]) -> list[float]:
    """One quantity at each rate with its intervals; its marks say what became of the rate. Returns the values."""
    symbol = SYMBOLS.get(staircase.name, "circle")
    marks = {ANSWERED: symbol, OVERLOADED: f"{symbol}-open", NOT_KEPT: "x"}
    estimates = [step.estimates[key] for step in staircase.steps]
    chart.add_scatter(
        x=[step.rate_per_s for step in staircase.steps],
        y=[or_none(estimate.value) for estimate in estimates],
        name=title_of(staircase.measurement),
        mode="lines+markers",
        line={"color": colour(staircase.name), **line},
        marker={
            "symbol": [marks[step.state] for step in staircase.steps],
            "size": 8,
        },
        error_y={
            "type": "data",
            "symmetric": False,
            "array": [_arm(estimate, estimate.high - estimate.value) for estimate in estimates],
            "arrayminus": [_arm(estimate, estimate.value - max(estimate.low, 0.0)) for estimate in estimates],
            "thickness": 1,
            "width": 3,
            "color": colour(staircase.name),
        },
    )
    return [estimate.value for estimate in estimates if estimate.is_measured]


def _arm(estimate: Estimate, length: float) -> float | str:
    """As in ``chart_style``: Plotly does not draw text. On a logarithmic axis it draws an arm that reaches 0 down to
    the end of the axis."""
    return round(length, 6) if estimate.has_interval else "none"


def _add_ring(chart: go.Figure, staircase: Staircase, key: str, number: int) -> None:
    """A ring around the highest rate that was answered, if one was. Rings of several deployments lie in each other."""
    knee = staircase.knee
    if knee is None:
        return
    chart.add_scatter(
        x=[knee.rate_per_s],
        y=[or_none(knee.estimates[key].value)],
        name=title_of(staircase.measurement),
        mode="markers",
        legendgroup=f"deployment {number}",
        showlegend=False,
        marker={
            "symbol": "circle-open",
            "size": 14 + 3 * number,
            "color": colour(staircase.name),
            "line": {"width": 2},
        },
        hovertemplate=f"{RING}: %{{x:,}}/s<extra>%{{fullData.name}}</extra>",
    )


def _all_rates(staircases: Staircases) -> list[float]:
    return sorted({step.rate_per_s for staircase in staircases for step in staircase.steps})


def _rates(staircases: Staircases) -> dict[str, Any]:
    rates = _all_rates(staircases)
    ticks = rates if len(rates) <= FEW_RATES else round_numbers(rates)
    texts = [f"{tick:g}" for tick in ticks]
    return {"title": "requests due per second (logarithmic)", "type": "log", "tickvals": ticks, "ticktext": texts}


def _logarithmic(shown: Sequence[float]) -> dict[str, Any]:
    ticks = round_numbers(shown)
    return {"type": "log", "tickvals": ticks, "ticktext": [f"{tick:g}" for tick in ticks]}
