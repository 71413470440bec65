"""How the load was shared by replicas: shares, Jain's index and evenness, whose right values are known beforehand."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from recorded_runs import (
    request,
    steady_requests,
    steady_samples,
)
from test_analysis_summary import host

from analysis.measure.balance import evenness, expected_largest_share, replica_shares, replicas_of
from analysis.read.runs import Run


def test_shares_join_requests_by_name_or_by_id(tmp_path: Path) -> None:
    requests = [request(2 + i / 100, replica="web.1" if i % 4 else "2") for i in range(400)]
    samples = steady_samples(0.1, 3000, replica="web.1", replica_id="1")
    samples += steady_samples(0.1, 1000, replica="web.2", replica_id="2")
    load = host(tmp_path, requests=requests, samples=samples)
    first, second = replica_shares(load)
    assert (first.name, first.requests, first.request_share, first.byte_share) == ("web.1", 300, 0.75, 0.75)
    assert (second.name, second.requests, second.request_share, second.byte_share) == ("web.2", 100, 0.25, 0.25)


def test_a_replica_that_answered_nothing_has_a_share_of_zero(tmp_path: Path) -> None:
    samples = steady_samples(0.1, 1000, replica="web.1", replica_id="1")
    samples += steady_samples(0.1, 0, replica="web.2", replica_id="2")
    load = host(tmp_path, requests=steady_requests(10, replica="web.1"), samples=samples)
    assert [(share.name, share.request_share, share.byte_share) for share in replica_shares(load)] == [
        ("web.1", 1, 1),
        ("web.2", 0, 0),
    ]
    assert replicas_of(load) == 2


@pytest.mark.parametrize(
    ("users", "replicas", "reused", "expected"), [(4, 3, 1, 0.5), (8, 3, 1, 3 / 8), (8, 3, 0, 1 / 3)]
)
def test_the_largest_share_to_expect(tmp_path: Path, users: int, replicas: int, reused: int, expected: float) -> None:
    load = host(tmp_path, requests=steady_requests(10, connection_reused=reused), users=users)
    assert expected_largest_share(load, replicas)[0] == pytest.approx(expected)


def shared_by(folder: Path, counts: dict[str, int], reused: int, opened: dict[str, int] | None = None) -> Run:
    """A run in which each replica gave so many answers, over connections that were kept or not."""
    rows = [
        request(2 + number / 100, replica=name, connection_reused=reused)
        for name, count in counts.items()
        for number in range(count)
    ]
    rows += [
        request(1, replica=name, connection_reused=0) for name, count in (opened or {}).items() for _ in range(count)
    ]
    load = host(folder, requests=rows)
    return load


def test_jains_index_and_evenness_of_requests_with_connections_of_their_own(tmp_path: Path) -> None:
    even = evenness(shared_by(tmp_path / "even", {"a": 100, "b": 100, "c": 100}, 0))
    assert even is not None
    assert (even.jain, even.p_value, even.cards) == (1.0, 1.0, "answers")
    assert even.largest == pytest.approx(1 / 3)
    uneven = evenness(shared_by(tmp_path / "uneven", {"a": 200, "b": 100, "c": 100}, 0))
    assert uneven is not None
    assert uneven.jain == pytest.approx(400**2 / (3 * 60000))
    assert uneven.p_value < 1e-9
    assert uneven.expected_largest == pytest.approx(1 / 3)


def test_evenness_of_kept_connections_is_that_of_the_connections(tmp_path: Path) -> None:
    few = evenness(shared_by(tmp_path / "few", {"a": 200, "b": 100, "c": 100}, 1, {"a": 2, "b": 1, "c": 1}))
    assert few is not None
    assert few.cards == "connections"
    assert math.isnan(few.p_value)
    assert few.largest == few.expected_largest == 0.5
    many = evenness(shared_by(tmp_path / "many", {"a": 200, "b": 100, "c": 100}, 1, {"a": 20, "b": 10, "c": 10}))
    assert many is not None
    assert many.p_value == pytest.approx(0.0821, abs=1e-4)
    assert evenness(shared_by(tmp_path / "one", {"a": 10}, 1)) is None


def test_shares_of_a_whole_that_lacks_a_replica_are_none(tmp_path: Path) -> None:
    rows = [request(2 + number / 50, replica=name) for name in "abc" for number in range(100)]
    sampled = [row for name in "ab" for row in steady_samples(1.0, 1000.0, replica=name, replica_id=name)]
    load = host(tmp_path, requests=rows, samples=sampled)
    shares = replica_shares(load)
    assert [share.name for share in shares] == ["a", "b", "c"]
    assert all(math.isnan(share.byte_share) and math.isnan(share.cpu_share) for share in shares)
    assert shares[0].received_bytes > 0
