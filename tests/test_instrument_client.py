"""The benchmark of the load's client: its arithmetic, and one short run of each of Locust's clients."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
from conftest import Service

from benchmarks.instrument_client import FAST_HTTP, OURS, USERS, Figures, _locust, summary


def alternation(ours_ms: float, wrk_ms: float, ours_cpu: float, fast_cpu: float) -> dict[str, Figures]:
    runs = {"fasthttp 8": {"p50_ms": 9.0, "throughput": 1.0, "cpu_ms_per_request": fast_cpu}}
    for users in USERS:
        own_ms = ours_ms * users
        runs[f"ours {users}"] = {"p50_ms": own_ms, "throughput": 900.0, "cpu_ms_per_request": ours_cpu + users - 8}
        runs[f"wrk {users}"] = {"p50_ms": wrk_ms * users, "throughput": 1000.0 * users}
    return runs


def test_figures_are_medians_and_ratios_are_taken_within_alternations() -> None:
    found = summary([alternation(1.1, 1.0, 0.2, 1.0), alternation(4.0, 2.0, 0.3, 0.5), alternation(1.2, 4.0, 0.1, 0.4)])
    assert found["client_cpu_ms_per_request"] == pytest.approx(0.2)
    assert found["fasthttp_cpu_ms_per_request"] == pytest.approx(0.5)
    assert found["client_cpu_ratio"] == pytest.approx(0.25)  # of 0.2, 0.6, 0.25; that of the medians is 0.4
    assert found["p50_ratio_to_wrk"] == {str(users): pytest.approx(1.1) for users in USERS}
    assert found["throughput_ratio_to_wrk"] == {str(users): pytest.approx(0.9 / users) for users in USERS}
    assert len(found["alternations"]) == 3


def test_both_clients_of_locust_are_measured_with_the_same_recording(shared_service: Service, tmp_path: Path) -> None:
    for locustfile in (OURS, FAST_HTTP):
        found = _locust(locustfile, shared_service.url, tmp_path, 8, 1)
        with (tmp_path / f"{locustfile.stem}-8_requests.csv").open(newline="") as file:
            rows = list(csv.DictReader(file))
        assert {(row["status"], row["error"], row["replica"]) for row in rows} == {("200", "", "test-replica")}
        assert all(row["text_id"] and row["request_bytes"] and row["inference_ms"] for row in rows)
        measured = sum(row["phase"] == "measured" for row in rows)
        assert 0.1 * measured < found["throughput"] < 2 * measured  # of 1 s, or of more where the machine stalls
        assert 0.02 < found["cpu_ms_per_request"] < 20
        assert 0 < found["p50_ms"] < 1000
