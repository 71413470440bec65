"""The charts: each from figures or binned series, never a point a request."""

from __future__ import annotations

import html
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go

from analysis.frames import Deployment, Run
from analysis.summary import (
    Figure,
    RunSummary,
    cpu_per_second,
    expected_largest_share,
    network_per_second,
    replica_rates,
    replica_shares,
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

REPLICA_COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#D55E00", "#56B4E9", "#F0E442", "#999999")
ECDF_POINTS = 200
MEGABYTE = 1e6

Summaries = Sequence[tuple[Deployment, RunSummary]]


def latency_distribution(runs: Sequence[tuple[Deployment, Run]]) -> go.Figure:
    """The share of requests answered within a time, one line a deployment, drawn from 200 quantiles each."""
    figure = go.Figure()
    shares = np.linspace(0, 1, ECDF_POINTS + 1)
    for deployment, run in runs:
        times = run.measured[run.measured["error"] == ""]["response_time_ms"].to_numpy()
        if len(times):
            figure.add_scatter(
                x=np.quantile(times, shares).round(3).tolist(),
                y=(shares * 100).round(2).tolist(),
                name=f"{deployment.title} (n = {len(times):,})",
                mode="lines",
                line={"color": COLOURS[deployment.name], "width": 2.5},
                hovertemplate="%{y:.1f}% within %{x:.2f} ms<extra></extra>",
            )
    figure.update_xaxes(title="response time in ms (logarithmic)", type="log")
    figure.update_yaxes(title="% of requests answered", range=[0, 101])
    return figure


def percentiles(summaries: Summaries) -> go.Figure:
    """Median, p95 and p99 of each deployment with their intervals."""
    figure = go.Figure()
    for deployment, summary in summaries:
        latency = summary.latency
        bars = [("median", latency.median), ("p95", latency.p95), ("p99", latency.p99)]
        _add_bars(figure, deployment.title, COLOURS[deployment.name], bars)
    figure.update_yaxes(title="response time in ms")
    figure.update_layout(barmode="group")
    return figure


def by_deployment(summaries: Summaries, of: Callable[[RunSummary], Figure], unit: str, scale: float = 1.0) -> go.Figure:
    """One bar a deployment for one figure."""
    figure = go.Figure()
    for deployment, summary in summaries:
        _add_bars(figure, deployment.title, COLOURS[deployment.name], [(deployment.title, of(summary))], scale)
    figure.update_yaxes(title=unit)
    figure.update_layout(showlegend=False)
    return figure


def where_the_time_goes(summaries: Summaries) -> go.Figure:
    """Medians of queue, inference and the rest of the response time, stacked a deployment."""
    parts: tuple[tuple[str, str, Callable[[RunSummary], Figure]], ...] = (
        ("waiting for the model", "#56B4E9", lambda summary: summary.queue_ms),
        ("in the model", "#009E73", lambda summary: summary.inference_ms),
        ("HTTP, network and ingress", "#E69F00", lambda summary: summary.rest_ms),
    )
    figure = go.Figure()
    for name, colour, of in parts:
        figure.add_bar(
            name=name,
            x=[deployment.title for deployment, _ in summaries],
            y=[_or_none(of(summary).value) for _, summary in summaries],
            marker={"color": colour},
            hovertemplate="%{x}: %{y:.2f} ms " + name + "<extra></extra>",
        )
    figure.update_layout(barmode="stack")
    figure.update_yaxes(title="median, ms")
    return figure


def over_time(runs: Sequence[tuple[Deployment, Run]], of: str) -> go.Figure:
    """Throughput or CPU in each second of the measured phase, one line a deployment."""
    figure = go.Figure()
    for deployment, run in runs:
        if of == "throughput":
            answered = run.measured[run.measured["error"] == ""]
            series = throughput_per_second(answered, *run.window_unix_s)
        else:
            series = cpu_per_second(replica_rates(run))
        figure.add_scatter(
            x=series.index.tolist(),
            y=[_or_none(value) for value in series],
            name=deployment.title,
            mode="lines",
            line={"color": COLOURS[deployment.name], "width": 2},
        )
    figure.update_xaxes(title="seconds of the measured phase")
    figure.update_yaxes(
        title="answers a second" if of == "throughput" else "CPU in percent of one core", rangemode="tozero"
    )
    return figure


def traffic(summaries: Summaries) -> go.Figure:
    """Bytes in and out in the measured phase: the client's view, and that of the containers' interfaces."""
    figure = go.Figure()
    views: tuple[tuple[str, str, str, Callable[[RunSummary], Figure]], ...] = (
        ("in: request bodies, client's view", "#56B4E9", "", lambda one: one.client_traffic.received_bytes),
        ("out: answer bodies, client's view", "#0072B2", "", lambda one: one.client_traffic.sent_bytes),
        ("in: containers' interfaces", "#F0E442", "/", lambda one: one.interface_traffic.received_bytes),
        ("out: containers' interfaces", "#D55E00", "/", lambda one: one.interface_traffic.sent_bytes),
    )
    for name, colour, pattern, of in views:
        figure.add_bar(
            name=name,
            x=[deployment.title for deployment, _ in summaries],
            y=[_or_none(of(summary).value / MEGABYTE) for _, summary in summaries],
            marker={"color": colour, "pattern": {"shape": pattern}},
            hovertemplate="%{x}: %{y:.3f} MB " + name + "<extra></extra>",
        )
    figure.update_layout(barmode="group")
    figure.update_yaxes(title="MB in the measured phase")
    return figure


def replica_network_over_time(run: Run) -> go.Figure:
    """Bytes a second through each replica's interfaces, in and out together."""
    rates = network_per_second(replica_rates(run))
    figure = go.Figure()
    for number, (replica, rows) in enumerate(rates.groupby("replica")):
        figure.add_scatter(
            x=rows["second"].tolist(),
            y=[_or_none(value / 1000) for value in rows["bytes_per_s"]],
            name=html.escape(str(replica)),
            mode="lines",
            line={"color": _replica_colour(number), "width": 2},
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
    figure.update_layout(barmode="group")
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
    largest, _ = expected_largest_share(run, max(1, len(shares)))
    figure.add_hline(y=largest * 100, line={"dash": "dash", "color": "#888888"}, annotation_text="largest to expect")
    figure.update_layout(barmode="group")
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
            "array": [_or_none((one.high - one.value) * scale) for _, one in bars],
            "arrayminus": [_or_none((one.value - one.low) * scale) for _, one in bars],
            "thickness": 1.5,
            "color": "#888888",
        },
        marker={"color": colour},
        customdata=[f"n = {one.n:,} {one.of}" for _, one in bars],
        hovertemplate="%{fullData.name}, %{x}: %{y:.4g}<br>%{customdata}<extra></extra>",
        text=["" if one.is_measured else "not measured" for _, one in bars],
    )


def _replica_colour(number: int) -> str:
    return REPLICA_COLOURS[number % len(REPLICA_COLOURS)]


def _or_none(value: Any) -> float | None:
    """Plotly draws nothing for None; NaN is no JSON."""
    return None if value is None or math.isnan(value) else round(float(value), 6)
