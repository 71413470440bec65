"""The section of the nodes of a swarm: a chart and two tables for each deployment that ran on several nodes."""

from __future__ import annotations

import html
import textwrap
from collections.abc import Sequence

import plotly.graph_objects as go

from analysis.judge import words
from analysis.judge.nodes import interval, node_anchor, remote_nodes, signed
from analysis.measure.nodes import COMPARED, CROSSED, CROSSED_PER_ANSWER, SHARE, Nodes, NodeUse
from analysis.measure.quantity import QUANTITIES, Estimate
from analysis.show.chart_style import add_named_bars, empty_chart, plot_of, say_not_measured
from analysis.show.elements import Cell, Chart, Column, Row, Section, Table
from analysis.show.sections import INTERVALS

TITLE = "Nodes"
HOW_TO_READ = (
    "The replicas ran on several machines (nodes) of one swarm. The load came in through the published port of one of "
    "them, the entry node. Swarm's ingress gives each new connection to the next replica, wherever it runs. If that is "
    "on another node, requests and answers go there and back through the ingress network."
)
HOW_CROSSED_IS_READ = (
    "What crossed the nodes: the bytes through the network interfaces of the replicas on other nodes, in and out, as "
    "their containers count them. It is not all that the cable carried: each packet got 50 bytes more around it "
    "(VXLAN), and the nodes also talk about the swarm. And if these replicas exchange bytes with anybody else, such as "
    "a database, those are counted too. Differences are computed round by round, from the same users and the same "
    "time. The nodes may differ in their processors too: compare the time in the model."
)
STICKY = " Each user kept its connection, so it met one replica only: users are compared with other users."
KEYS = ("median_ms", "p95_ms", "inference_ms", "cpu_percent", "interface_in_mb", "interface_out_mb")
"""The quantities in the table of the nodes, besides the answers."""
TITLES = ("Median", "p95", "In the model", "CPU", "Bytes in", "Bytes out")
NODE_COLOURS = (("median_ms", "median", "#56B4E9"), ("p95_ms", "p95", "#AA4499"))
MOST_TOLD = 4
"""With more nodes there is no room below the chart for what each of them answered."""
LABEL_WIDTH = 14
HEIGHT_REM = 27.0
"""Labels of six lines stand below the bars, and a reason in place of a bar needs as much room as in other charts."""


def nodes_section(each: Sequence[Nodes]) -> Section:
    """The whole section; empty unless replicas of a deployment ran on several nodes."""
    charts = tuple(_chart(nodes) for nodes in each)
    tables = tuple(table for nodes in each for table in nodes_tables(nodes))
    return Section("nodes", TITLE, TITLE, HOW_TO_READ if each else "", charts=charts, tables=tables)


def nodes_tables(nodes: Nodes) -> tuple[Table, Table]:
    """What each node did, and the replicas on other nodes against those on the entry node."""
    return _use_table(nodes), _remote_table(nodes)


def _chart(nodes: Nodes) -> Chart:
    title = nodes.measurement.title
    return Chart(
        f"{nodes.measurement.name}-nodes",
        f"{title}: response times by node",
        "Below each node: its share of the answers, and the bytes that its replicas received and sent in a round. On "
        f"other nodes than the entry node these are what crossed the nodes. {INTERVALS}",
        plot_of(response_times(nodes)),
        HEIGHT_REM,
    )


def response_times(nodes: Nodes) -> go.Figure:
    """Median and p95 of the answers of each node's replicas."""
    chart = empty_chart()
    labels = [html.escape(node.name) for node in nodes.nodes]
    for key, name, colour in NODE_COLOURS:
        bars = [(label, node.summary[key]) for label, node in zip(labels, nodes.nodes, strict=True)]
        add_named_bars(chart, name, {"color": colour}, bars)
    for label, node in zip(labels, nodes.nodes, strict=True):
        if not node.summary["median_ms"].is_measured:
            say_not_measured(chart, label, words.why_missing(node.summary["median_ms"]))
    is_told = len(labels) <= MOST_TOLD
    texts = [_told(node) if is_told else label for node, label in zip(nodes.nodes, labels, strict=True)]
    chart.update_xaxes(type="category", tickvals=labels, ticktext=texts, tickangle=0, showgrid=False)
    chart.update_yaxes(title="ms", rangemode="tozero")
    chart.update_layout(barmode="group", bargap=0.35)
    return chart


def _told(node: NodeUse) -> str:
    """What stands below a node, in short lines."""
    count = len(node.replicas)
    said = [node.name, *(["(entry)"] if node.is_entry else []), f"{count} replica{'s' if count != 1 else ''}"]
    said.append(f"{words.number(node.summary[SHARE], 1)}% of answers")
    into, out = node.summary["interface_in_mb"], node.summary["interface_out_mb"]
    if into.is_measured and out.is_measured:
        said.append(f"{into.value + out.value:,.2f} MB")
    return "<br>".join(html.escape(line) for part in said for line in textwrap.wrap(part, LABEL_WIDTH))


def _use_table(nodes: Nodes) -> Table:
    columns = [Column("Node"), Column("Replicas"), Column("Answers", detail="all rounds"), Column("Share of answers")]
    columns += [Column(title, detail=QUANTITIES[key].unit) for key, title in zip(KEYS, TITLES, strict=True)]
    rows = tuple(_use_row(nodes, place, node) for place, node in enumerate(nodes.nodes))
    lost = f" {nodes.unplaced:,} answers belong to no node: their replica is not known, or it moved."
    heading = f"{nodes.measurement.title}: nodes"
    return Table(heading, heading, tuple(columns), rows, lost.strip() if nodes.unplaced else "", is_dense=True)


def _use_row(nodes: Nodes, place: int, node: NodeUse) -> Row:
    rounds = len(nodes.measurement.rounds)
    cells = [Cell(", ".join(node.replicas)), Cell(f"{node.summary['requests'].value:,.0f}")]
    cells.append(_cell(node.summary[SHARE], 1, rounds, node_anchor(nodes, SHARE, place), "%"))
    cells += [_cell(node.summary[key], QUANTITIES[key].digits, rounds, node_anchor(nodes, key, place)) for key in KEYS]
    return Row(node.name, tuple(cells), detail=_role(nodes, node))


def _role(nodes: Nodes, node: NodeUse) -> str:
    if nodes.entry is None:
        return ""
    return "entry node" if node.is_entry else "other node"


def _cell(estimate: Estimate, digits: int, rounds: int, anchor: str, unit: str = "") -> Cell:
    return Cell(f"{words.number(estimate, digits)}{unit}", words.interval(estimate, digits, rounds), anchor)


def _remote_table(nodes: Nodes) -> Table:
    here = nodes.entry or "the entry node"
    columns = (Column("Replicas"), Column(f"On {here}"), Column(f"On {remote_nodes(nodes)}"), Column("Difference"))
    rounds = len(nodes.measurement.rounds)
    rows = []
    for key in COMPARED:
        sides = [
            _cell(side[key], 2, rounds, "") if key in side else Cell("not known")
            for side in (nodes.local, nodes.remote)
        ]
        later = nodes.later[key]
        text = signed(later) if later.is_measured else words.number(later, 0)
        detail = interval(later) if later.is_measured else later.missing or ""
        title = f"{QUANTITIES[key].title}, {QUANTITIES[key].unit}"
        rows.append(Row(title, (*sides, Cell(text, detail, node_anchor(nodes, key, "later")))))
    for key, title, unit, digits in (
        (CROSSED, "Crossed the nodes in a round", "MB", 3),
        (CROSSED_PER_ANSWER, "Crossed for 1,000 answers from there", "kB", 1),
    ):
        estimate = nodes.crossed[key]
        own = f" {unit}" if estimate.is_measured else ""
        cell = _cell(estimate, digits, rounds, node_anchor(nodes, key, "crossed"), own)
        rows.append(Row(title, (Cell(""), cell, Cell(""))))
    heading = f"{nodes.measurement.title}: replicas on other nodes"
    sticky = STICKY if nodes.is_sticky else ""
    return Table(heading, heading, columns, tuple(rows), f"{HOW_CROSSED_IS_READ}{sticky}")
