"""The open load beside another tool: what the tools write is read rightly, and the comparison can fail."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from benchmarks.open_peer import (
    RATES_PER_S,
    finish,
    in_time,
    percentiles,
    perfect_times,
    ratios,
    run_ours,
    services_of,
    table,
)
from benchmarks.open_peer_tools import WRITTEN, find_tool, h2load_commands, read_h2load, read_vegeta, vegeta_commands
from benchmarks.queueing import running_server
from benchmarks.queueing_cases import CONSTANT, EXPONENTIAL
from infra.errors import DeploymentError

H2LOAD = """\
1795950567698767\t200\t10510
1795950567799137\t200\t10540
1795950567749475\t200\t10492
"""
"""Recorded with h2load 1.52 at a server that takes 10 ms. Its lines come in the order of the answers; the second and
third are exchanged here."""

VEGETA = """\
1600000000500000000,200,10500000,0,2,,b2s=,,1,GET,http://127.0.0.1:8000/infer,
1600000000000000000,200,12250000,0,2,,b2s=,,0,GET,http://127.0.0.1:8000/infer,
"""
"""Not recorded: as vegeta's README describes it."""


def test_h2loads_requests_are_read_in_the_order_of_sending() -> None:
    assert read_h2load(H2LOAD) == [10.51, 10.492, 10.54]


def test_vegetas_requests_are_read_in_the_order_of_sending() -> None:
    assert read_vegeta(VEGETA) == [12.25, 10.5]


def test_a_request_that_failed_ends_the_benchmark() -> None:
    with pytest.raises(DeploymentError, match="1 of 3 requests failed, the first with status 503"):
        read_h2load(H2LOAD.replace("200\t10492", "503\t10492"))
    with pytest.raises(DeploymentError, match="1 of 2 requests failed, the first with status 0"):
        read_vegeta(VEGETA.replace(",200,105", ",0,105"))


def test_both_tools_are_told_rate_and_length(tmp_path: Path) -> None:
    (h2load,) = h2load_commands("http://127.0.0.1:80/infer", 50, 22, tmp_path)
    assert {"--rps=50", "--requests=1100", f"--log-file={tmp_path / WRITTEN}"} < set(h2load)
    attack, encode = vegeta_commands("http://127.0.0.1:80/infer", 50, 22, tmp_path)
    assert {"-rate=50/1s", "-duration=22s"} < set(attack)
    assert f"-output={tmp_path / WRITTEN}" in encode
    assert (tmp_path / "targets").read_text() == "GET http://127.0.0.1:80/infer\n"


def test_the_first_tool_on_the_path_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert find_tool(None) is None
    for name in ("vegeta", "h2load"):
        (tmp_path / name).touch(mode=0o755)
        assert getattr(find_tool(None), "name", None) == name
    assert getattr(find_tool("vegeta"), "name", None) == "vegeta"


def test_percentiles_leave_out_the_first_two_seconds_and_all_after_the_last() -> None:
    times_ms = [1e6] * 40 + [float(number) for number in range(100)] + [1e6] * 9
    assert percentiles(times_ms, 20, 5) == {"n": 100, "p50_ms": 49.5, "p99_ms": pytest.approx(98.01)}
    with pytest.raises(DeploymentError, match="139 requests were answered where 140 should have been"):
        percentiles(times_ms[:139], 20, 5)


def test_a_perfect_client_measures_the_wait_and_the_service() -> None:
    """At 100 per second: the second request waits for 15 ms, the third for none."""
    assert perfect_times([25.0, 4.0, 3.0, 1.0], 100) == pytest.approx([25.0, 19.0, 12.0, 3.0])


def figures_of(ours_ms: list[float]) -> dict[str, Any]:
    """Alternations in which the other tool always measured 10 ms."""
    peer = {"p50_ms": 10.0, "p99_ms": 10.0}
    alternations = [
        {str(rate): {"ours": dict.fromkeys(peer, ms), "peer": peer, "perfect": peer, "other_services": 1}}
        | {str(rest): {"ours": peer, "peer": peer, "perfect": peer, "other_services": 0} for rest in others}
        for ms in ours_ms
        for rate, *others in [RATES_PER_S]
    ]
    fast = {"not_in_time": 0.004, "send_delay_p50_ms": 0.1, "cpu_percent": None}
    return {"peer": "h2load", "alternations": alternations, "ratios": ratios(alternations), "fast": fast}


def test_ratios_are_those_within_the_alternations() -> None:
    figures = figures_of([11.0, 12.0, 9.0])
    assert len(figures["ratios"]) == 2 * len(RATES_PER_S)
    first, last = figures["ratios"][0], figures["ratios"][-1]
    assert (first["rate_per_s"], first["quantity"]) == (RATES_PER_S[0], "p50_ms")
    assert (first["median"], first["lowest"], first["highest"]) == (1.1, 0.9, 1.2)
    assert (last["median"], last["lowest"], last["highest"]) == (1, 1, 1)
    said = "\n".join(table(figures))
    assert "1.100  0.900 to 1.200" in said
    assert "3 requests of ours overtook each other" in said
    assert "0.40% were late or not sent (at most 1%)" in said
    assert "CPU unknown" in said


def test_a_tool_that_fails_ends_the_benchmark_with_what_it_said(tmp_path: Path) -> None:
    with pytest.raises(DeploymentError, match=r"(?s)cat ended with exit code 1: .*nowhere"):
        finish("cat", ["cat", "nowhere"], tmp_path, 1)


def test_ours_gets_the_services_of_the_seed_and_adds_little_to_them(tmp_path: Path) -> None:
    """Locust asks the server nothing else: such a request would take a service.

    Tried three times: on a busy machine requests are sent late, many at once, and overtake each other.
    """
    for number in range(3):
        folder = tmp_path / str(number)
        folder.mkdir()
        with running_server(EXPONENTIAL, seed=3) as port:
            ours = run_ours(port, 50, 1, folder)
        count = len(ours.requests)
        as_seeded = sum(abs(ours.requests["inference_ms"] - services_of(3, count)) < 0.001)
        if count >= 100 and as_seeded > 0.9 * count:
            break
    assert count >= 100
    assert as_seeded > 0.9 * count
    assert (ours.requests["response_time_ms"] >= ours.requests["inference_ms"]).all()
    assert 0 <= in_time(ours)["send_delay_p50_ms"] < 10


@pytest.mark.skipif(shutil.which("h2load") is None, reason="h2load is not installed (Debian: nghttp2-client)")
def test_h2load_writes_what_is_read(tmp_path: Path) -> None:
    with running_server(CONSTANT, seed=1) as port:
        (command,) = h2load_commands(f"http://127.0.0.1:{port}/infer", 50, 1, tmp_path)
        subprocess.run(command, check=True, capture_output=True, timeout=30)
    times_ms = read_h2load((tmp_path / WRITTEN).read_text())
    assert len(times_ms) == 50
    assert min(times_ms) > 9.9
