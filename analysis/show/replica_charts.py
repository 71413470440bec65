"""The charts of replicas: network over time, totals, shares, and what happened to them."""

from __future__ import annotations

import html
import math
from collections.abc import Sequence

import plotly.graph_objects as go

from analysis.measure.balance import ReplicaShare, expected_largest_share, replicas_of
from analysis.measure.rounds import Measurement
from analysis.measure.series import network_per_second
from analysis.read.runs import Run
from analysis.show.chart_style import GREY, coarse, empty_chart, line_or_point, or_none, say_not_measured
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
    """Bytes per second through each replica's interfaces, in and out together."""
    rates = dict(list(network_per_second(run).set_index("second").groupby("replica")["bytes_per_s"]))
    chart = empty_chart()
    for number, share in enumerate(shares):
        if share.name not in rates:
            continue
        series = coarse(rates[share.name] / 1000)
        chart.add_scatter(
            x=series.index.tolist(),
            y=[or_none(value) for value in series],
            name=html.escape(share.title),
            mode=line_or_point(len(series)),
            line={"color": _colour(number), "width": 2.5, "dash": REPLICA_DASHES[number % len(REPLICA_DASHES)]},
            hovertemplate="second %{x}: %{y:.1f} kB/s<extra>%{fullData.name}</extra>",
        )
    chart.update_xaxes(title="seconds of the measured phase")
    chart.update_yaxes(title="kB per second, in and out", rangemode="tozero")
    return chart


def network_totals(shares: Sequence[ReplicaShare]) -> go.Figure:
    """Bytes into and out of each replica in the measured phase."""
    chart = empty_chart()
    received = [share.received_bytes / MEGABYTE for share in shares]
    sent = [share.sent_bytes / MEGABYTE for share in shares]
    _add_pair(chart, shares, (("in", "/", received), ("out", "", sent)), "%{x}: %{y:.3f} MB ")
    for share in shares:
        if math.isnan(share.received_bytes) and math.isnan(share.sent_bytes):
            said = f"not measured: {share.missing}" if share.missing else "not measured"
            say_not_measured(chart, html.escape(share.title), said)
    chart.update_yaxes(title="MB in the measured phase")
    return chart


def request_shares(run: Run, shares: Sequence[ReplicaShare], *, deals_requests: bool) -> go.Figure:
    """Each replica's share of answers and of bytes, with the largest share to expect as a line.

    If it is not known who answered, the shares of connections stand in place of those of answers.
    """
    chart = empty_chart()
    dealt, what = [share.request_share * 100 for share in shares], "of the answers"
    if all(map(math.isnan, dealt)):  # no answer says who gave it
        dealt, what = [share.connection_share * 100 for share in shares], "of the connections"
    of_bytes = [share.byte_share * 100 for share in shares]
    pairs = ((what, "", dealt), ("of the network bytes", "/", of_bytes))
    _add_pair(chart, shares, pairs, "%{x}: %{y:.1f}% ")
    largest, _ = expected_largest_share(run, replicas_of(run), deals_requests)
    chart.add_hline(
        y=largest * 100, line={"dash": "dash", "color": GREY}, annotation_text=f"largest to expect: {largest:.1%}"
    )
    chart.update_yaxes(title="% of the run", rangemode="tozero")
    return chart


def events(loads: Sequence[Measurement]) -> go.Figure:
    """What happened to each replica, on the time axis of its run; one row per replica and round."""
    chart = empty_chart()
    found: dict[str, tuple[list[float], list[str], list[str]]] = {}
    rows: list[str] = []
    ended = 0.0
    for load in loads:
        for number, run in load.deployment.loads.items():
            start, end = run.window_unix_s
            ended = max(ended, end - start)
            for event in run.events.to_dict("records"):
                row = html.escape(f"{load.title}, round {number}: {event['replica']}")
                rows += [] if row in rows else [row]
                x, y, said = found.setdefault(str(event["event"]), ([], [], []))
                x.append(round(event["at_unix_s"] - start, 2))
                y.append(row)
                said.append(html.escape(str(event["detail"])))
    for name, (x, y, said) in found.items():
        symbol, own = EVENT_MARKS.get(name, ("square", GREY))
        chart.add_scatter(
            x=x,
            y=y,
            customdata=said,
            name=html.escape(name),
            showlegend=True,
            mode="markers",
            marker={"symbol": symbol, "color": own, "size": 11},
            hovertemplate="%{y}: %{fullData.name}, second %{x} %{customdata}<extra></extra>",
        )
    chart.add_vline(x=0, line={"dash": "dot", "color": GREY}, annotation_text="measured from here")
    first = min((at for x, _, _ in found.values() for at in x), default=0.0)
    margin = 0.03 * (ended - min(first, 0.0))
    chart.update_xaxes(title="seconds; below 0: warm-up", range=[min(first, 0.0) - margin, ended + margin])
    chart.update_yaxes(categoryorder="array", categoryarray=rows[::-1])
    return chart


def _add_pair(
    chart: go.Figure,
    shares: Sequence[ReplicaShare],
    pairs: Sequence[tuple[str, str, Sequence[float]]],
    hover: str,
) -> None:
    for name, pattern, values in pairs:
        chart.add_bar(
            name=name,
            x=[html.escape(share.title) for share in shares],
            y=[or_none(value) for value in values],
            marker={"color": [_colour(number) for number in range(len(shares))], "pattern": {"shape": pattern}},
            hovertemplate=f"{hover}{name}<extra></extra>",
        )
    chart.update_xaxes(type="category", showgrid=False)
    chart.update_layout(barmode="group", bargap=0.35)


def _colour(number: int) -> str:
    return REPLICA_COLOURS[number % len(REPLICA_COLOURS)]
