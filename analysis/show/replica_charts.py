"""The charts of replicas: network over time, totals, shares, and what became of them."""

from __future__ import annotations

import html
import math
from collections.abc import Sequence

import plotly.graph_objects as go

from analysis.measure.balance import ReplicaShare, expected_largest_share, replicas_of
from analysis.measure.rounds import Measurement
from analysis.measure.series import network_per_second
from analysis.read.results import Run
from analysis.show.chart_style import GREY, coarse, empty_figure, line_or_point, or_none, say_not_measured
from runfiles.events import ENDED, FOUND, NOT_SAMPLED, RESTARTED, SAMPLED_AGAIN, STARTED

REPLICA_COLOURS = ("#56B4E9", "#AA4499", "#999933", "#44AA99", "#DDCC77", "#999999")
REPLICA_DASHES = ("solid", "dash", "dot", "dashdot")
"""Replicas have colours that no deployment has, and on lines a dash of their own."""

MEGABYTE = 1e6
EVENT_MARKS = {
    FOUND: ("circle-open", "#0072B2"),
    STARTED: ("triangle-up", "#009E73"),
    RESTARTED: ("star", "#D55E00"),
    ENDED: ("x", "#D55E00"),
    NOT_SAMPLED: ("diamond-open", "#E69F00"),
    SAMPLED_AGAIN: ("diamond", "#E69F00"),
}


def network_over_time(run: Run, shares: Sequence[ReplicaShare]) -> go.Figure:
    """Bytes a second through each replica's interfaces, in and out together."""
    rates = dict(list(network_per_second(run).set_index("second").groupby("replica")["bytes_per_s"]))
    figure = empty_figure()
    for number, one in enumerate(shares):
        if one.name not in rates:
            continue
        series = coarse(rates[one.name] / 1000)
        figure.add_scatter(
            x=series.index.tolist(),
            y=[or_none(value) for value in series],
            name=html.escape(one.title),
            mode=line_or_point(len(series)),
            line={"color": _colour(number), "width": 2.5, "dash": REPLICA_DASHES[number % len(REPLICA_DASHES)]},
            hovertemplate="second %{x}: %{y:.1f} kB/s<extra>%{fullData.name}</extra>",
        )
    figure.update_xaxes(title="seconds of the measured phase")
    figure.update_yaxes(title="kB a second, in and out", rangemode="tozero")
    return figure


def network_totals(shares: Sequence[ReplicaShare]) -> go.Figure:
    """Bytes into and out of each replica in the measured phase."""
    figure = empty_figure()
    received = [one.received_bytes / MEGABYTE for one in shares]
    sent = [one.sent_bytes / MEGABYTE for one in shares]
    _add_pair(figure, shares, (("in", "/", received), ("out", "", sent)), "%{x}: %{y:.3f} MB ")
    for one in shares:
        if math.isnan(one.received_bytes) and math.isnan(one.sent_bytes):
            say_not_measured(figure, html.escape(one.title))
    figure.update_yaxes(title="MB in the measured phase")
    return figure


def request_shares(run: Run, shares: Sequence[ReplicaShare]) -> go.Figure:
    """Each replica's share of answers and of bytes, with the largest share to expect as a line."""
    figure = empty_figure()
    answers = [one.request_share * 100 for one in shares]
    of_bytes = [one.byte_share * 100 for one in shares]
    pairs = (("of the answers", "", answers), ("of the network bytes", "/", of_bytes))
    _add_pair(figure, shares, pairs, "%{x}: %{y:.1f}% ")
    largest, _ = expected_largest_share(run, replicas_of(run))
    figure.add_hline(
        y=largest * 100, line={"dash": "dash", "color": GREY}, annotation_text=f"largest to expect: {largest:.1%}"
    )
    figure.update_yaxes(title="% of the run", rangemode="tozero")
    return figure


def events(loads: Sequence[Measurement]) -> go.Figure:
    """What became of each replica, on the time axis of its run; a row a replica and round."""
    figure = empty_figure()
    found: dict[str, tuple[list[float], list[str], list[str]]] = {}
    rows: list[str] = []
    ended = 0.0
    for one in loads:
        for number, run in one.deployment.loads.items():
            start, end = run.window_unix_s
            ended = max(ended, end - start)
            for event in run.events.to_dict("records"):
                row = html.escape(f"{one.title}, round {number}: {event['replica']}")
                rows += [] if row in rows else [row]
                x, y, said = found.setdefault(str(event["event"]), ([], [], []))
                x.append(round(event["at_unix_s"] - start, 2))
                y.append(row)
                said.append(html.escape(str(event["detail"])))
    for name, (x, y, said) in found.items():
        symbol, own = EVENT_MARKS.get(name, ("square", GREY))
        figure.add_scatter(
            x=x,
            y=y,
            customdata=said,
            name=html.escape(name),
            showlegend=True,
            mode="markers",
            marker={"symbol": symbol, "color": own, "size": 11},
            hovertemplate="%{y}: %{fullData.name}, second %{x} %{customdata}<extra></extra>",
        )
    figure.add_vline(x=0, line={"dash": "dot", "color": GREY}, annotation_text="measured from here")
    first = min((at for x, _, _ in found.values() for at in x), default=0.0)
    margin = 0.03 * (ended - min(first, 0.0))
    figure.update_xaxes(title="seconds; below 0: warm-up", range=[min(first, 0.0) - margin, ended + margin])
    figure.update_yaxes(categoryorder="array", categoryarray=rows[::-1])
    return figure


def _add_pair(
    figure: go.Figure,
    shares: Sequence[ReplicaShare],
    pairs: Sequence[tuple[str, str, Sequence[float]]],
    hover: str,
) -> None:
    for name, pattern, values in pairs:
        figure.add_bar(
            name=name,
            x=[html.escape(one.title) for one in shares],
            y=[or_none(value) for value in values],
            marker={"color": [_colour(number) for number in range(len(shares))], "pattern": {"shape": pattern}},
            hovertemplate=f"{hover}{name}<extra></extra>",
        )
    figure.update_xaxes(type="category", showgrid=False)
    figure.update_layout(barmode="group", bargap=0.35)


def _colour(number: int) -> str:
    return REPLICA_COLOURS[number % len(REPLICA_COLOURS)]
