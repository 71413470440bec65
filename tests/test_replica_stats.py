"""Arithmetic on replies of the Docker API: recorded ones, and made ones with answers known beforehand."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from _counters import Counters, Interface, counters_of, parse_time, rates, working_set
from _read_docker import READ_FAILURES, OneShot

DATA = Path(__file__).parent / "data"


def reading(at: float, cpu: float) -> Counters:
    return Counters(at, cpu, memory_bytes=1)


def reply(**changes: Any) -> dict[str, Any]:
    whole: dict[str, Any] = {
        "read": "2026-01-02T03:04:05.123456789Z",
        "cpu_stats": {"cpu_usage": {"total_usage": 2_500_000_000}},
        "memory_stats": {"usage": 1000, "limit": 5000, "stats": {"inactive_file": 300}},
        "networks": {
            "eth0": {"rx_bytes": 10, "tx_bytes": 20, "rx_packets": 3, "tx_packets": 4},
            "eth1": {"rx_bytes": 1, "tx_bytes": 2, "rx_packets": 5, "tx_packets": 6},
        },
    }
    return whole | changes


def test_a_recorded_reply_gives_its_counters() -> None:
    recorded = json.loads((DATA / "stats_cgroup_v1.json").read_text())
    counters = counters_of(recorded)
    assert counters is not None
    assert counters.cpu_seconds == recorded["cpu_stats"]["cpu_usage"]["total_usage"] / 1e9
    assert counters.net_rx_bytes == recorded["networks"]["eth0"]["rx_bytes"]
    assert 0 < counters.memory_bytes <= recorded["memory_stats"]["usage"]
    assert counters.memory_cache_bytes == 10_248_192


@pytest.mark.parametrize(
    ("details", "expected"),
    [({"cache": 1, "total_cache": 5, "inactive_file": 2}, 5), ({"file": 7, "inactive_file": 2}, 7), ({}, None)],
)
def test_file_cache_is_read_as_v1_and_v2_write_it(details: dict[str, int], expected: int | None) -> None:
    counters = counters_of(reply(memory_stats={"usage": 1000, "stats": details}))
    assert counters is not None
    assert counters.memory_cache_bytes == expected


def test_interfaces_are_summed_and_cache_is_left_out() -> None:
    counters = counters_of(reply())
    interfaces = {"eth0": Interface(10, 20, 3, 4), "eth1": Interface(1, 2, 5, 6)}
    assert counters == Counters(parse_time("2026-01-02T03:04:05.123456Z"), 2.5, 700, 5000, interfaces)
    assert (counters.net_rx_bytes, counters.net_tx_bytes) == (11, 22)
    assert (counters.net_rx_packets, counters.net_tx_packets) == (8, 10)


def test_block_io_pids_and_throttling_are_read_as_v1_and_v2_write_them() -> None:
    for read, write in (("Read", "Write"), ("read", "write")):
        devices = [{"op": read, "value": 5}, {"op": write, "value": 7}, {"op": write, "value": 1}]
        counters = counters_of(
            reply(
                blkio_stats={"io_service_bytes_recursive": devices},
                pids_stats={"current": 9},
                cpu_stats={"cpu_usage": {"total_usage": 1}, "throttling_data": {"throttled_time": 2_500_000_000}},
            )
        )
        assert counters is not None
        assert (counters.block_read_bytes, counters.block_write_bytes) == (5, 8)
        assert (counters.pids, counters.throttled_seconds) == (9, 2.5)
    not_told = counters_of(reply(blkio_stats={"io_service_bytes_recursive": None}))
    assert not_told is not None
    assert not_told.block_read_bytes is None
    nothing_yet = counters_of(reply(blkio_stats={"io_service_bytes_recursive": []}))
    assert nothing_yet is not None
    assert nothing_yet.block_read_bytes == 0


def test_a_network_that_is_not_told_is_not_zero() -> None:
    without = reply()
    del without["networks"]
    counters = counters_of(without)
    assert counters is not None
    assert counters.networks is None
    assert counters.net_rx_bytes is None
    assert counters.interfaces is None


@pytest.mark.parametrize(
    "changes",
    [
        {"read": "0001-01-01T00:00:00Z"},
        {"cpu_stats": {"cpu_usage": {"total_usage": 0}}},
        {"memory_stats": {}},
    ],
)
def test_a_stopped_container_is_no_sample(changes: dict[str, Any]) -> None:
    assert counters_of(reply(**changes)) is None


@pytest.mark.parametrize(
    ("memory", "expected"),
    [
        ({"usage": 1000, "stats": {"inactive_file": 300}}, 700),
        ({"usage": 1000, "stats": {"total_inactive_file": 200, "inactive_file": 300}}, 800),
        ({"usage": 1000, "stats": {"inactive_file": 1500}}, 1000),
        ({"usage": 1000}, 1000),
    ],
)
def test_the_working_set_is_that_of_docker_stats(memory: dict[str, Any], expected: int) -> None:
    assert working_set(memory) == expected


def test_cpu_is_used_seconds_over_seconds_between_readings() -> None:
    assert rates(reading(100.0, 5.0), reading(100.5, 5.1))["cpu_percent"] == pytest.approx(20.0)


def test_there_is_no_rate_without_a_baseline_or_over_a_reset() -> None:
    assert rates(None, reading(100.0, 5.0))["cpu_percent"] is None
    assert rates(reading(100.0, 5.0), reading(101.0, 0.2))["cpu_percent"] is None
    assert rates(reading(100.0, 5.0), reading(100.0, 5.0))["cpu_percent"] is None


def test_nanoseconds_and_offsets_are_read() -> None:
    assert parse_time("1970-01-01T00:00:01.500000000Z") == 1.5
    assert parse_time("1970-01-01T01:00:00+01:00") == 0


@pytest.mark.parametrize(
    ("answer", "expected"), [({"message": "it is stopping"}, "it is stopping"), ({}, "no counters")]
)
def test_an_answer_without_counters_is_a_failure_that_the_monitor_knows(answer: dict[str, str], expected: str) -> None:
    """An engine answered so, with status 200, while a container ended. Its samples ended without a word."""
    client = SimpleNamespace(api=SimpleNamespace(stats=lambda container, **options: answer))
    with pytest.raises(READ_FAILURES, match=expected):
        OneShot(client, "1").read()
