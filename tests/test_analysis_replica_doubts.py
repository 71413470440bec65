"""Each reason not to trust the samples and events of replicas, provoked and called by its name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from recorded_runs import (
    START,
    steady_requests,
    steady_samples,
)
from test_analysis_validity import examined, kinds, one_run, said

from analysis.read.results import read_results


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ([row | ({"cpu_seconds": 0.1} if n > 12 else {}) for n, row in enumerate(steady_samples(0.5))], "restarted"),
        ([row | ({"replica_id": "2"} if n > 20 else {}) for n, row in enumerate(steady_samples(0.5))], "replaced"),
    ],
)
def test_a_replica_that_restarted_shows_in_its_samples(tmp_path: Path, changed: list[Any], expected: str) -> None:
    found = one_run(tmp_path, samples=changed)
    assert kinds(found) == {"restart"}
    assert f"host was {expected} while it was measured" in said(found)


@pytest.mark.parametrize(
    ("event", "kind"), [("restarted", "restart"), ("ended", "restart"), ("not sampled", "unsampled")]
)
def test_a_replica_that_restarted_shows_in_its_events(tmp_path: Path, event: str, kind: str) -> None:
    events = [{"at_unix_s": START + 5, "event": event, "replica": "host", "detail": "exit code 137"}]
    assert kinds(one_run(tmp_path / "in", events=events)) == {kind}
    after_the_end = [events[0] | {"at_unix_s": START + 13}]
    assert kinds(one_run(tmp_path / "after", events=after_the_end)) == set()


def test_gaps_in_the_samples(tmp_path: Path) -> None:
    gap = [row for row in steady_samples(0.5) if not 3 < row["sampled_at_unix_s"] - START < 9]
    found = one_run(tmp_path / "long", samples=gap)
    assert kinds(found) == {"gap"}
    assert "no sample of host for 6.0 s" in said(found)
    short = [row for row in steady_samples(0.5) if not 3 < row["sampled_at_unix_s"] - START < 5]
    mind = one_run(tmp_path / "short", samples=short)
    assert kinds(mind) == set()
    assert "no sample of host for 2.0 s" in said(mind)


def test_a_replica_that_is_in_no_figure(tmp_path: Path) -> None:
    other = one_run(tmp_path / "other", steady_requests(50, replica="another"))
    assert kinds(other) == {"unsampled"}
    assert "another answered but was not sampled" in said(other)
    away = {"asked": "swarm:web", "found": "swarm:web", "sampling": "docker", "interval_s": 0.25, "problems": []}
    away["list"] = [{"name": "web.2", "id": "2", "node": "n2", "sampled": False, "reason": "runs on another node"}]
    assert "web.2 was not sampled: it runs on another node" in said(one_run(tmp_path / "away", replicas=away))


@pytest.mark.parametrize(("node", "is_said"), [("n1", True), ("another", False)])
def test_cpu_that_others_took_is_said_where_it_can_be_told(tmp_path: Path, node: str, is_said: bool) -> None:
    busy = {"node": node, "cpu_percent": 170.0}  # 20 by the generator, 50 by the service: 100 by others
    text = said(one_run(tmp_path, machine=busy))
    assert ("other programs and the system took 100% of a core" in text) is is_said


def test_a_cpu_limit_that_held_a_replica_back_is_said(tmp_path: Path) -> None:
    held = [row | {"throttled_seconds": n / 10} for n, row in enumerate(steady_samples(0.5))]
    assert "the CPU limit held host back for 2.4 s" in said(one_run(tmp_path, samples=held))


@pytest.mark.parametrize("suffix", ["replica_events", "replica_stats"])
def test_a_file_of_the_replicas_that_is_missing_is_told(tmp_path: Path, suffix: str) -> None:
    replicas = {"list": [{"name": "host", "id": "1", "node": "n1", "sampled": True}], "problems": []}
    assert kinds(one_run(tmp_path, replicas=replicas)) == set()
    path = tmp_path / "host" / "round-1" / f"load_{suffix}.csv"
    whole = path.read_bytes()
    path.unlink()
    found = examined(tmp_path)
    assert kinds(found) == {"unreadable"}
    assert f"load_{suffix}.csv is missing, though replicas were sampled" in said(found)
    for zeros in (b"\0" * 4096, whole + b"\0" * 100):
        path.write_bytes(zeros)
        assert kinds(examined(tmp_path)) == {"unreadable"}
        assert "of zero" in said(examined(tmp_path))


def test_a_service_is_elsewhere_by_the_nodes_of_the_record_too(tmp_path: Path) -> None:
    replicas = {"list": [{"name": "a", "id": "1", "node": "other", "sampled": True}], "problems": []}
    one_run(tmp_path, samples=[], replicas=replicas, machine={"node": "here"})
    (tmp_path / "host" / "round-1" / "load_replica_stats.csv").unlink()
    (run,) = read_results(tmp_path).runs
    assert not run.is_local
