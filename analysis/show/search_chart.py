"""The chart of a search for the capacity: how many requests missed the objective at each rate."""

from __future__ import annotations

import html
import math
from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go

from analysis.judge.capacities import carried
from analysis.measure.searches import Search, SearchStep
from analysis.show.chart_style import FEW_TICKS, GREY, SYMBOLS, colour, empty_chart, round_numbers

MOST_LIMITS = 4
"""The chart ends at so many times the share that may miss; steps above are drawn at its upper edge."""
AROUND = 1.6
"""It shows the rates from the lowest capacity over this to the highest one times this."""


SMALLEST_MARK, LARGER = 9, 4
"""The size of the last deployment's mark, and how much larger each one before is: marks at one place lie in each
other."""
POINT = 7


def missed(searches: Sequence[Search], place: int) -> go.Figure:
    """The share of the requests of each step that missed the condition at this place of the objective, against the
    rate; the line of the share that may miss; and on it the capacity of each deployment that this condition limits."""
    chart = empty_chart()
    condition = searches[0].objective.conditions[place]
    most = condition.most_share * 100
    top = min(100.0, MOST_LIMITS * most)
    for number, search in enumerate(searches):
        for is_kept in (True, False):
            own = [step for step in search.steps if step.counts.is_kept == is_kept and step.told.offered]
            if own:
                _add_steps(chart, search, own, place, top, f"deployment {number}", is_kept=is_kept)
    chart.add_hline(y=most, line={"color": GREY, "dash": "dash"})
    for number, search in enumerate(searches):
        if search.limiting == condition:
            size = SMALLEST_MARK + LARGER * (len(searches) - 1 - number)
            _add_capacity(chart, search, most, size, f"deployment {number}")
    low, high = _span(searches)
    ticks = [tick for tick in round_numbers([low, high]) if low <= tick <= high]
    if len(ticks) < FEW_TICKS:
        ticks = [float(f"{tick:.2g}") for tick in np.geomspace(low, high, FEW_TICKS + 2)[1:-1]]
    chart.update_xaxes(
        title="requests due per second (logarithmic)",
        type="log",
        range=[math.log10(low), math.log10(high)],
        tickvals=ticks,
        ticktext=[f"{tick:g}" for tick in ticks],
    )
    chart.update_yaxes(title="requests that missed it, in %", range=[-top / 25, top * 1.04])
    return chart


def _add_steps(
    chart: go.Figure,
    search: Search,
    steps: Sequence[SearchStep],
    place: int,
    top: float,
    group: str,
    *,
    is_kept: bool,
) -> None:
    """Steps as points; open ones if they do not count."""
    shares = [step.share_missed(place) * 100 for step in steps]
    symbol = SYMBOLS.get(search.name, "circle")
    is_first = is_kept or all(not step.counts.is_kept for step in search.steps)
    chart.add_scatter(
        x=[step.rate_per_s for step in steps],
        y=[min(share, top) for share in shares],
        name=html.escape(search.title),
        mode="markers",
        legendgroup=group,
        showlegend=is_first,
        marker={
            "symbol": symbol if is_kept else f"{symbol}-open",
            "color": colour(search.name),
            "size": POINT,
            "opacity": 0.6,
        },
        customdata=[
            [f"{share:.2f}% of {step.told.offered:,} requests", "" if is_kept else "<br>does not count"]
            for step, share in zip(steps, shares, strict=True)
        ],
        hovertemplate="%{x:,}/s: %{customdata[0]}%{customdata[1]}<extra>%{fullData.name}</extra>",
    )


def _add_capacity(chart: go.Figure, search: Search, most: float, size: int, group: str) -> None:
    capacity = search.capacity
    has_arms = capacity.has_interval
    chart.add_scatter(
        x=[capacity.value],
        y=[most],
        name=html.escape(search.title),
        mode="markers",
        legendgroup=group,
        showlegend=False,
        marker={
            "symbol": SYMBOLS.get(search.name, "circle"),
            "color": colour(search.name),
            "size": size,
            "line": {"width": 2, "color": "black"},
        },
        error_x={
            "type": "data",
            "symmetric": False,
            "array": [capacity.high - capacity.value if has_arms else 0],
            "arrayminus": [capacity.value - capacity.low if has_arms else 0],
            "thickness": 3,
            "width": 6,
            "color": colour(search.name),
        },
        hovertemplate=f"capacity: {carried(capacity)}<extra>%{{fullData.name}}</extra>",
    )


def _span(searches: Sequence[Search]) -> tuple[float, float]:
    """The rates that the chart shows: those around the capacities or, if none was found, all."""
    found = [search.capacity.value for search in searches if search.capacity.is_measured]
    if found:
        return min(found) / AROUND, max(found) * AROUND
    rates = [step.rate_per_s for search in searches for step in search.steps] or [1.0]
    return min(rates) / 1.1, max(rates) * 1.1
