"""The charts: each from figures or binned series, never a point a request."""

from __future__ import annotations

import html
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from analysis.balance import expected_largest_share, replica_shares, replicas_of
from analysis.frames import Deployment, Run
from analysis.hidden import hidden_cpu_ms
from analysis.summary import (
    Figure,
    RunSummary,
    Traffic,
    cpu_per_second,
    network_per_second,
    throughput_per_second,
)

COLOURS = {
    "host": "#0072B2",
    "docker": "#E69F00",
    "compose": "#009E73",
    "swarm-1": "#CC79A7",
    "swarm-3": "#D55E00",
}
"""Okabe and Ito's palette: told apart with any kind of colour vision. One deployment, one colour, everywhere."""
OTHER_COLOUR = "#56B4E9"

REPLICA_COLOURS = ("#56B4E9", "#AA4499", "#999933", "#44AA99", "#DDCC77", "#999999")
REPLICA_DASHES = ("solid", "dash", "dot", "dashdot")
"""Replicas have colours that no deployment has, and on lines a dash of their own."""

ECDF_POINTS = 200
MOST_POINTS = 600
"""A longer series is drawn as means over so many stretches of equal length."""
MEGABYTE = 1e6

Summaries = Sequence[tuple[Deployment, RunSummary]]


def colour(deployment: Deployment) -> str:
    """A deployment's colour, the same in every chart."""
    return COLOURS.get(deployment.name, OTHER_COLOUR)


def latency_distribution(runs: Sequence[tuple[Deployment, Run]]) -> go.Figure:
    """The share of requests answered within a time, one line a deployment, drawn from 200 quantiles each."""
    figure = go.Figure()
    shares = np.linspace(0, 1, ECDF_POINTS + 1)
    shown: list[float] = []
    for deployment, run in runs:
        times = run.measured[run.measured["error"] == ""]["response_time_ms"].to_numpy()
        if len(times):
            quantiles = np.quantile(times, shares).round(3).tolist()
            shown += [quantiles[0], quantiles[-1]]
            figure.add_scatter(
                x=quantiles,
                y=(shares * 100).round(2).tolist(),
                name=f"{_name(deployment)} (n = {len(times):,})",
                mode="lines",
                line={"color": colour(deployment), "width": 2.5},
                hovertemplate="%{y:.1f}% within %{x:.2f} ms<extra></extra>",
            )
    ticks = _round_numbers(shown)
    figure.update_xaxes(
        title="response time in ms (logarithmic)", type="log", tickvals=ticks, ticktext=[f"{one:g}" for one in ticks]
    )
    figure.update_yaxes(title="% of requests answered", range=[0, 101])
    return figure


def percentiles(summaries: Summaries) -> go.Figure:
    """Median, p95 and p99 of each deployment with their intervals."""
    figure = go.Figure()
    for deployment, summary in summaries:
        latency = summary.latency
        bars = [("median", latency.median), ("p95", latency.p95), ("p99", latency.p99)]
        _add_bars(figure, _name(deployment), colour(deployment), bars)
    figure.update_xaxes(showgrid=False)
    figure.update_yaxes(title="response time in ms")
    figure.update_layout(barmode="group")
    return figure


def by_deployment(summaries: Summaries, of: Callable[[RunSummary], Figure], unit: str, scale: float = 1.0) -> go.Figure:
    """One bar a deployment for one figure."""
    figure = go.Figure()
    for deployment, summary in summaries:
        name, one = _name(deployment), of(summary)
        _add_bars(figure, name, colour(deployment), [(name, one)], scale)
        if not one.is_measured:
            _say_not_measured(figure, name)
    _label_deployments(figure, summaries)
    figure.update_yaxes(title=unit)
    figure.update_layout(showlegend=False)
    return figure


def where_the_time_goes(summaries: Summaries) -> go.Figure:
    """Medians of queue, inference and the rest of the response time, stacked a deployment."""
    parts: tuple[tuple[str, str, Callable[[RunSummary], Figure]], ...] = (
        ("waiting for the model", "#999999", lambda summary: summary.queue_ms),
        ("in the model", "#56B4E9", lambda summary: summary.inference_ms),
        ("HTTP, network and ingress", "#F0E442", lambda summary: summary.rest_ms),
    )
    figure = go.Figure()
    for name, colour, of in parts:
        figure.add_bar(
            name=name,
            x=[_name(deployment) for deployment, _ in summaries],
            y=[_or_none(of(summary).value) for _, summary in summaries],
            marker={"color": colour},
            hovertemplate="%{x}: %{y:.2f} ms " + name + "<extra></extra>",
        )
    _label_deployments(figure, summaries)
    figure.update_layout(barmode="stack")
    figure.update_yaxes(title="median, ms")
    return figure


def where_the_cpu_goes(summaries: Summaries) -> go.Figure:
    """CPU time an answer: the service's own, and what is in no container's account, stacked a deployment."""
    shown = [(deployment, summary) for deployment, summary in summaries if deployment.load is not None]
    parts: dict[str, list[Figure]] = {"the service": [summary.cpu_ms_per_request for _, summary in shown]}
    for deployment, _ in shown:
        if deployment.load is not None:
            for name, one in hidden_cpu_ms(deployment.load).items():
                parts.setdefault(name, []).append(one)
    figure = go.Figure()
    for (name, values), colour in zip(
        parts.items(), ("#56B4E9", "#D55E00", "#E69F00", "#F0E442", "#999999"), strict=True
    ):
        figure.add_bar(
            name=name,
            x=[_name(deployment) for deployment, _ in shown],
            y=[_or_none(one.value) for one in values],
            marker={"color": colour},
            hovertemplate="%{x}: %{y:.2f} CPU-ms " + name + "<extra></extra>",
        )
    _label_deployments(figure, shown)
    figure.update_layout(barmode="stack")
    figure.update_yaxes(title="CPU-ms an answer")
    return figure


def over_time(runs: Sequence[tuple[Deployment, Run]], of: str) -> go.Figure:
    """Throughput or CPU in each second of the measured phase, one line a deployment."""
    figure = go.Figure()
    for deployment, run in runs:
        series = _coarse(throughput_per_second(run) if of == "throughput" else cpu_per_second(run))
        figure.add_scatter(
            x=series.index.tolist(),
            y=[_or_none(value) for value in series],
            name=_name(deployment),
            mode="lines",
            line={"color": colour(deployment), "width": 2},
            hovertemplate="second %{x}: %{y:.1f}<extra>%{fullData.name}</extra>",
        )
    figure.update_xaxes(title="seconds of the measured phase")
    figure.update_yaxes(
        title="answers a second" if of == "throughput" else "CPU in percent of one core", rangemode="tozero"
    )
    return figure


def traffic(summaries: Summaries, of: Callable[[RunSummary], Traffic]) -> go.Figure:
    """Bytes into and out of the service in the measured phase, seen from one place."""
    figure = go.Figure()
    for name, pattern, totals in (
        ("in", "/", [of(summary).received_bytes for _, summary in summaries]),
        ("out", "", [of(summary).sent_bytes for _, summary in summaries]),
    ):
        figure.add_bar(
            name=name,
            x=[_name(deployment) for deployment, _ in summaries],
            y=[_or_none(total.value / MEGABYTE) for total in totals],
            marker={"color": [colour(deployment) for deployment, _ in summaries], "pattern": {"shape": pattern}},
            hovertemplate="%{x}: %{y:.3f} MB " + name + "<extra></extra>",
        )
    for deployment, summary in summaries:
        if not of(summary).sent_bytes.is_measured:
            _say_not_measured(figure, _name(deployment))
    _label_deployments(figure, summaries)
    figure.update_layout(barmode="group")
    figure.update_yaxes(title="MB in the measured phase")
    return figure


def replica_network_over_time(run: Run) -> go.Figure:
    """Bytes a second through each replica's interfaces, in and out together."""
    rates = network_per_second(run).set_index("second")
    figure = go.Figure()
    for number, one in enumerate(replica_shares(run)):
        series = _coarse(rates[rates["replica"] == one.name]["bytes_per_s"] / 1000)
        if series.empty:
            continue
        figure.add_scatter(
            x=series.index.tolist(),
            y=[_or_none(value) for value in series],
            name=html.escape(one.name),
            mode="lines",
            line={
                "color": _replica_colour(number),
                "width": 2.5,
                "dash": REPLICA_DASHES[number % len(REPLICA_DASHES)],
            },
            hovertemplate="second %{x}: %{y:.1f} kB/s<extra>%{fullData.name}</extra>",
        )
    figure.update_xaxes(title="seconds of the measured phase")
    figure.update_yaxes(title="kB a second, in and out", rangemode="tozero")
    return figure


def replica_network_totals(run: Run) -> go.Figure:
    """Bytes into and out of each replica in the measured phase."""
    shares = replica_shares(run)
    figure = go.Figure()
    for name, pattern, values in (
        ("in", "/", [one.received_bytes for one in shares]),
        ("out", "", [one.sent_bytes for one in shares]),
    ):
        figure.add_bar(
            name=name,
            x=[html.escape(one.name) for one in shares],
            y=[_or_none(value / MEGABYTE) for value in values],
            marker={"color": [_replica_colour(number) for number in range(len(shares))], "pattern": {"shape": pattern}},
            hovertemplate="%{x}: %{y:.3f} MB " + name + "<extra></extra>",
        )
    _label_replicas(figure)
    figure.update_yaxes(title="MB in the measured phase")
    return figure


def replica_request_shares(run: Run) -> go.Figure:
    """Each replica's share of answers and of bytes, with the even share as a line."""
    shares = replica_shares(run)
    figure = go.Figure()
    for name, pattern, values in (
        ("of the answers", "", [one.request_share for one in shares]),
        ("of the network bytes", "/", [one.byte_share for one in shares]),
    ):
        figure.add_bar(
            name=name,
            x=[html.escape(one.name) for one in shares],
            y=[_or_none(value * 100) for value in values],
            marker={"color": [_replica_colour(number) for number in range(len(shares))], "pattern": {"shape": pattern}},
            hovertemplate="%{x}: %{y:.1f}% " + name + "<extra></extra>",
        )
    largest, _ = expected_largest_share(run, replicas_of(run))
    figure.add_hline(
        y=largest * 100, line={"dash": "dash", "color": "#888888"}, annotation_text=f"largest to expect: {largest:.1%}"
    )
    _label_replicas(figure)
    figure.update_yaxes(title="% of the run", rangemode="tozero")
    return figure


def _add_bars(
    figure: go.Figure, name: str, colour: str, bars: Sequence[tuple[str, Figure]], scale: float = 1.0
) -> None:
    """Bars of one colour with their intervals; what was not measured leaves its place empty and says so."""
    figure.add_bar(
        name=name,
        x=[label for label, _ in bars],
        y=[_or_none(one.value * scale) for _, one in bars],
        error_y={
            "type": "data",
            "symmetric": False,
            "array": [_arm(one, (one.high - one.value) * scale) for _, one in bars],
            "arrayminus": [_arm(one, (one.value - one.low) * scale) for _, one in bars],
            "thickness": 1.5,
            "color": "#888888",
        },
        marker={"color": colour},
        customdata=[f"n = {one.n:,} {one.of}" for _, one in bars],
        hovertemplate="%{fullData.name}, %{x}: %{y:.4g}<br>%{customdata}<extra></extra>",
    )


def _say_not_measured(figure: go.Figure, label: str) -> None:
    """Words where a bar would stand: an empty place alone could be read as zero."""
    figure.add_annotation(
        x=label, y=0, text="not measured", textangle=-90, showarrow=False, yanchor="bottom", font={"size": 12}
    )


def _label_deployments(figure: go.Figure, summaries: Summaries) -> None:
    """Upright labels in short lines, which fit a phone, in the order of the deployments also where a bar is missing."""
    labels = [_name(deployment) for deployment, _ in summaries]
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


def _label_replicas(figure: go.Figure) -> None:
    figure.update_xaxes(type="category", showgrid=False)
    figure.update_layout(barmode="group", bargap=0.35)


def _coarse(series: pd.Series) -> pd.Series:
    """A series by second, thinned to ``MOST_POINTS`` means where it is longer."""
    width = math.ceil((series.index.max() + 1) / MOST_POINTS) if len(series) else 1
    return series if width == 1 else series.groupby(series.index // width * width).mean()


def _round_numbers(values: Sequence[float]) -> list[float]:
    """1, 2 and 5 times the powers of ten around ``values``: ticks for a logarithmic axis."""
    positive = [value for value in values if value > 0]
    if not positive:
        return []
    first, last = (math.floor(math.log10(end(positive))) for end in (min, max))
    return [step * 10.0**power for power in range(first, last + 1) for step in (1, 2, 5)] + [10.0 ** (last + 1)]


def _name(deployment: Deployment) -> str:
    """Plotly reads tags in names, so a name from outside is escaped for it."""
    return html.escape(deployment.title)


def _replica_colour(number: int) -> str:
    return REPLICA_COLOURS[number % len(REPLICA_COLOURS)]


def _arm(of: Figure, length: float) -> float | str:
    """One arm of an interval, where both bounds are known.

    Plotly reads None as an arm of length 0, which would claim certainty; words it does not draw.
    """
    return "none" if math.isnan(of.low) or math.isnan(of.high) else round(length, 6)


def _or_none(value: Any) -> float | None:
    """Plotly draws nothing for None; NaN is no JSON."""
    return None if value is None or math.isnan(value) else round(float(value), 6)
