"""What each node of a swarm answered, what crossed the nodes, and how much later replicas on other nodes answered."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from recorded_runs import measured, request, steady_requests, steady_samples, write_experiment, write_run
from test_analysis_block_doubts import change_json

from analysis.analyse import Analysis, analyse
from analysis.judge.across import why_other_circumstances
from analysis.measure.nodes import CROSSED, CROSSED_PER_ANSWER, SHARE
from analysis.read.results import read_results
from analysis.show.hand_in_report import render_report
from analysis.show.markdown import render_markdown
from analysis.show.page import render

NODES = {"web.1": "n1", "web.2": "n1", "web.3": "n2"}
CLUSTER = {
    "nodes": [{"name": "n1", "id": "a1", "role": "manager"}, {"name": "n2", "id": "b2", "role": "worker"}],
    "entry_node": "n1",
}
LATER_MS = (4.0, 5.0, 3.3)
"""How much later the replica on n2 answers in each round."""


def two_nodes(
    folder: Path, cluster: dict[str, Any] | None = None, later_ms: tuple[float, ...] = LATER_MS, **samples: Any
) -> Analysis:
    """Three replicas on two nodes; each answers 33 requests a second, and receives and sends 1,000 and 2,000 bytes."""
    values = {} if cluster is None else {"cluster": cluster}
    write_experiment(folder, [measured("swarm-3", len(later_ms))], **values)
    for number, later in enumerate(later_ms, 1):
        rows = []
        for place in range(1200):
            replica = f"web.{place % 3 + 1}"
            at, extra = place / 100, later if NODES[replica] == "n2" else 0.0
            rows.append(request(at, 10 + place % 7 + extra, replica=replica, connection_reused=0))
        sampled = [
            row | samples
            for replica, node in NODES.items()
            for row in steady_samples(0.1, 1000, replica=replica, replica_id=f"id-{replica}", node=node)
        ]
        write_run(folder / "swarm-3", "load", rows, sampled, number=number)
    return analyse(read_results(folder))


def test_each_node_has_its_answers_and_what_it_used(tmp_path: Path) -> None:
    (nodes,) = two_nodes(tmp_path, CLUSTER).nodes
    first, second = nodes.nodes
    assert [(node.name, node.is_entry, len(node.replicas)) for node in nodes.nodes] == [
        ("n1", True, 2),
        ("n2", False, 1),
    ]
    assert (first.summary["requests"].value, second.summary["requests"].value, nodes.unplaced) == (1998, 1002, 0)
    assert second.summary[SHARE].value == pytest.approx(33.4)
    assert first.summary["cpu_percent"].value == pytest.approx(20)
    assert second.summary["interface_in_mb"].value == pytest.approx(0.01)
    assert second.summary["interface_out_mb"].value == pytest.approx(0.02)
    assert second.summary["median_ms"].value == pytest.approx(13 + sum(LATER_MS) / 3)


def test_what_crossed_the_nodes_is_what_replicas_on_other_nodes_exchanged(tmp_path: Path) -> None:
    (nodes,) = two_nodes(tmp_path, CLUSTER).nodes
    assert nodes.crossed[CROSSED].value == pytest.approx(0.03)
    assert nodes.crossed[CROSSED_PER_ANSWER].value == pytest.approx(90, rel=0.01)  # 3,000 bytes/s for 33.3 answers/s
    assert nodes.crossed[CROSSED].rounds == 3


def test_other_nodes_are_later_round_by_round_with_an_interval(tmp_path: Path) -> None:
    analysis = two_nodes(tmp_path, CLUSTER)
    later = analysis.nodes[0].later["median_ms"]
    assert later.value == pytest.approx(4.1)
    assert [later.low, later.high] == pytest.approx([1.977, 6.223], abs=1e-3)
    assert (later.rounds, later.n) == (3, 3000)
    (finding,) = (each for each in analysis.findings if each.title == "Nodes")
    said = (
        "Replicas on n2 answered 4.10 ms later than those on n1, through which the load came in (median, 95% interval"
    )
    assert said in finding.text
    assert "each user kept its connection" not in finding.text.lower()
    for rendered in (render(analysis), render_markdown(analysis), render_report(analysis)):
        assert "replicas on other nodes" in rendered


def test_a_difference_that_may_be_none_is_not_called_one(tmp_path: Path) -> None:
    analysis = two_nodes(tmp_path, CLUSTER, (1.0, -1.0, 0.2))
    (finding,) = (each for each in analysis.findings if each.title == "Nodes")
    assert "No difference is proven between the median of replicas on n2 and of those on n1" in finding.text


def test_an_entry_node_that_is_not_recorded_is_not_guessed(tmp_path: Path) -> None:
    analysis = two_nodes(tmp_path, None)
    (nodes,) = analysis.nodes
    assert [node.is_entry for node in nodes.nodes] == [None, None]
    assert not nodes.crossed[CROSSED].is_measured
    assert not nodes.later["median_ms"].is_measured
    assert "does not say through which node" in render_markdown(analysis)


def test_replicas_on_one_node_have_no_such_section(tmp_path: Path) -> None:
    analysis = two_nodes(tmp_path, CLUSTER, node="n1")
    assert not analysis.nodes
    assert "## Nodes" not in render_markdown(analysis)


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"plan__placement": "one-node"}, "the placement of the replicas changed from none to one-node"),
        ({"plan__load_nodes": ["n3"]}, "the nodes that only send load changed from none to n3"),
        ({"plan__workers": 2}, "the number of workers that sent the load changed from none to 2"),
        ({"cluster__entry_node": "n2"}, "changed from n1, n2, entered at n1 to n1, n2, entered at n2"),
        ({}, None),
    ],
)
def test_experiments_on_unlike_clusters_are_not_compared(
    tmp_path: Path, changed: dict[str, Any], reason: str | None
) -> None:
    folders = [
        write_experiment(tmp_path / name, [measured("swarm-3")], cluster=CLUSTER) for name in ("before", "after")
    ]
    for folder in folders:
        write_run(folder / "swarm-3", "load", steady_requests(10))
    change_json(folders[1] / "experiment.json", **changed)
    old, new = map(read_results, folders)
    said = why_other_circumstances(old.deployments[0], new.deployments[0], old, new)
    assert (said is None) == (reason is None)
    assert reason is None or reason in str(said)
