"""What the nodes of a swarm did, in words."""

from __future__ import annotations

from collections.abc import Sequence

from analysis.judge import words
from analysis.judge.doubts import Validity
from analysis.judge.findings import Finding, Number, Part
from analysis.measure.nodes import CROSSED, CROSSED_PER_ANSWER, SHARE, Nodes, is_proven
from analysis.measure.quantity import FEWEST_ROUNDS, Estimate

TITLE = "Nodes"
STICKY = (
    "Each user kept its connection, so it met one replica only: the answers of some users are set against those of "
    "others."
)
NODES_DIFFER = "The nodes may differ in more than the way between them, such as in their processors."


def node_anchor(nodes: Nodes, key: str, place: int | str) -> str:
    """The anchor of a figure of a node, by its place among the nodes, or of the comparison (``later``, ``crossed``)."""
    return f"node-{nodes.measurement.name}-{place}-{key}"


def node_findings(each: Sequence[Nodes], validity: Validity) -> list[Finding]:
    """For each deployment whose replicas ran on several nodes, one finding. An invalid deployment has none."""
    return [_finding(nodes) for nodes in each if not validity.of(nodes.measurement.name)]


def _finding(nodes: Nodes) -> Finding:
    title = nodes.measurement.title
    parts: list[Part] = [f"{title}. Answers came from "]
    for place, node in enumerate(nodes.nodes):
        share = node.summary[SHARE]
        parts += [", " if place else "", node.name, " ("]
        parts += [Number(f"{words.number(share, 1)}%", node_anchor(nodes, SHARE, place)), ")"]
    parts.append(". ")
    if nodes.entry is None:
        parts.append("The record does not say through which node the load came in, so local and remote are not told.")
    else:
        parts += _later(nodes)
        parts += _crossed(nodes)
    return Finding(f"finding-nodes-{nodes.measurement.name}", TITLE, tuple(parts))


def remote_nodes(nodes: Nodes) -> str:
    """The nodes that are not the entry node, in words."""
    return words.listed([node.name for node in nodes.nodes if not node.is_entry])


def _later(nodes: Nodes) -> list[Part]:
    """``Replicas on n2 answered 4.10 ms later than those on n1, ... (median, ... 3.20 to 5.00, 5 rounds, n = ...).``"""
    median, rest = nodes.later["median_ms"], nodes.later["rest_ms"]
    if not median.is_measured:
        return [f"How much later the others answered is not known: {median.missing}. "]
    anchor = node_anchor(nodes, "median_ms", "later")
    here, there = f"on {nodes.entry}, through which the load came in", f"on {remote_nodes(nodes)}"
    known = Number(interval(median), anchor)
    if median.has_interval and not is_proven(median):
        parts: list[Part] = ["No difference is proven between the median of replicas ", there, " and of those ", here]
        parts += [": measured ", Number(signed(median), anchor), " (", known, "). "]
    else:
        direction = "later" if median.value >= 0 else "earlier"
        amount = Number(f"{abs(median.value):,.2f} ms {direction}", anchor)
        parts = [f"Replicas {there} answered ", amount, f" than those {here} (median, ", known, "). "]
    if rest.is_measured:
        number = Number(signed(rest), node_anchor(nodes, "rest_ms", "later"))
        parts += ["Outside queue and model the difference is ", number, ". "]
    return [*parts, f"{NODES_DIFFER} ", *([f"{STICKY} "] if nodes.is_sticky else [])]


def _crossed(nodes: Nodes) -> list[Part]:
    crossed, each = nodes.crossed[CROSSED], nodes.crossed[CROSSED_PER_ANSWER]
    if not crossed.is_measured:
        return [f"What crossed the nodes is not known: {crossed.missing}."]
    parts: list[Part] = ["Between the nodes went "]
    parts += [Number(f"{words.number(crossed, 3)} MB", node_anchor(nodes, CROSSED, "crossed")), " in a round"]
    if each.is_measured:
        kilobytes = Number(f"{words.number(each, 1)} kB", node_anchor(nodes, CROSSED_PER_ANSWER, "crossed"))
        parts += [", ", kilobytes, " for 1,000 answers of the replicas there"]
    return [*parts, "."]


def signed(later: Estimate) -> str:
    """A difference with its sign."""
    return f"{later.value:+,.2f} ms"


def interval(later: Estimate) -> str:
    """The interval of a difference, or why there is none, and n."""
    rounds = f"{later.rounds} round{'s' if later.rounds != 1 else ''}"
    n = f"{rounds}, n = {later.n:,}"
    if later.has_interval:
        return f"95% interval {later.low:+,.2f} to {later.high:+,.2f}, {n}"
    return f"{n}; fewer than {FEWEST_ROUNDS} rounds give no interval"
