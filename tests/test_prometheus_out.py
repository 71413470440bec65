"""``/metrics`` of Locust's web server: real Locust against a small server, read with Prometheus' own parser."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import requests
import yaml
from conftest import ROOT, free_port, is_open
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

from infra.deployments.waiting import until_true
from runfiles.events import ENDED, FOUND, NOT_SAMPLED

from _live import Live, Seen
from _prometheus import (
    COUNTERS,
    GAUGES,
    LAST_KEYS_MS,
    buckets,
    end_of_key_s,
    in_flight_metrics,
    load_metrics,
    open_metrics,
    replica_metrics,
)

GRAFANA = ROOT / "examples" / "grafana"
PAUSE_S = 0.02


@contextmanager
def started(command: list[str], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT)
    try:
        yield process
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(30)


@contextmanager
def load_of_two_users(
    folder: Path, *arguments: str, locustfile: str = "keep_alive", pause_s: float = PAUSE_S
) -> Iterator[str]:
    """Locust's web server, which loads a server that answers after ``pause_s``; its URL."""
    port, web_port = free_port(), free_port()
    server = [sys.executable, str(ROOT / "tests" / "named_service.py"), "first", str(port), str(pause_s)]
    locust = [sys.executable, "-m", "locust", "-f", str(ROOT / "locustfiles" / f"{locustfile}.py"), "--autostart"]
    locust += ["--users", "2", "--spawn-rate", "2", "--host", f"http://127.0.0.1:{port}", "--web-host", "127.0.0.1"]
    locust += ["--web-port", str(web_port), *arguments]
    if "--processes" in arguments:  # another Locust may have the usual port
        master_port = str(free_port())
        locust += ["--master-bind-port", master_port, "--master-port", master_port]
    with started(server, folder / "server.log"):
        assert until_true(lambda: is_open("127.0.0.1", port), 20)
        with started(locust, folder / "locust.log"):
            assert until_true(lambda: is_open("127.0.0.1", web_port), 30), (folder / "locust.log").read_text()
            yield f"http://127.0.0.1:{web_port}"


def scraped(url: str) -> list[Sample]:
    answer = requests.get(url, timeout=10)
    assert answer.status_code == 200
    assert answer.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
    families = list(text_string_to_metric_families(answer.text))
    assert all(family.documentation for family in families)
    return [sample for family in families for sample in family.samples]


def value(samples: list[Sample], metric: str, /, **labels: str) -> float | None:
    """The one value of this name and these labels; None: there is none."""
    found = [sample.value for sample in samples if sample.name == metric and labels.items() <= sample.labels.items()]
    assert len(found) < 2
    return found[0] if found else None


def queried_metrics() -> set[str]:
    """All metrics that the dashboard asks for."""
    dashboard = json.loads((GRAFANA / "fourfold.json").read_text(encoding="utf-8"))
    queries = [target["expr"] for panel in dashboard["panels"] for target in panel.get("targets", [])]
    queries += [variable["query"]["query"] for variable in dashboard["templating"]["list"]]
    return set(re.findall(r"fourfold_\w+", " ".join(queries)))


@pytest.mark.parametrize(("options", "base"), [("--web-base-path /load", "/load"), ("--processes 2", "")])
def test_metrics_are_those_of_locust_and_of_the_replicas(tmp_path: Path, options: str, base: str) -> None:
    port = str(free_port())
    of_workers = ["--master-bind-port", port, "--master-port", port]
    with load_of_two_users(tmp_path, *options.split(), *of_workers) as web:

        def now() -> list[Sample]:
            return scraped(f"{web}{base}/metrics")

        assert until_true(lambda: (value(now(), "fourfold_replica_cpu_ratio") or 0) > 0, 30)
        assert until_true(lambda: (value(now(), "fourfold_requests_total") or 0) > 20, 30)
        during = now()
        assert value(during, "fourfold_users") == 2
        assert value(during, "fourfold_requests_in_flight") is None  # only an open workload knows them
        replica = {"deployment": "process", "replica": "first"}
        assert value(during, "fourfold_replica_up", **replica) == 1
        assert (value(during, "fourfold_replica_cpu_seconds_total", **replica) or 0) > 0
        assert (value(during, "fourfold_replica_memory_bytes", **replica) or 0) > 5e6
        assert (value(during, "fourfold_replica_answers_total", **replica) or 0) > 20

        assert requests.post(f"{web}{base}/stop", timeout=20).ok

        def stats() -> Any:
            return requests.get(f"{web}{base}/stats/requests", timeout=10).json()

        assert until_true(lambda: stats()["state"] == "stopped" and stats()["user_count"] == 0, 30)
        after, said = now(), stats()
    (entry,) = [row for row in said["stats"] if row["name"] != "Aggregated"]
    labels = {"method": entry["method"], "name": entry["name"]}
    assert labels == {"method": "POST", "name": "/infer"}
    count = entry["num_requests"]
    assert count >= (value(during, "fourfold_requests_total") or 0)
    assert value(after, "fourfold_requests_total", **labels) == count
    assert value(after, "fourfold_request_failures_total", **labels) == entry["num_failures"] == 0
    assert value(after, "fourfold_response_time_seconds_count", **labels) == count
    assert value(after, "fourfold_response_time_seconds_bucket", le="+Inf") == count
    assert value(after, "fourfold_response_time_seconds_bucket", le="0.0155") == 0  # the server waits for longer
    total_s = value(after, "fourfold_response_time_seconds_sum", **labels)
    assert total_s == pytest.approx(entry["avg_response_time"] * count / 1000)
    assert value(after, "fourfold_replica_answers_total", **replica) == count
    assert value(after, "fourfold_users") == 0
    # The run is over, so nobody looks at the replica any more.
    assert value(after, "fourfold_replica_up") is value(after, "fourfold_replica_memory_bytes") is None


@pytest.mark.parametrize("options", ["", "--processes 2"])
def test_an_open_workload_has_requests_in_flight(tmp_path: Path, options: str) -> None:
    """20 requests are due per second, and each is answered after 0.5 s: ten are unanswered at once."""
    open_load = ["--rate", "20", "--arrivals", "constant", *options.split()]
    with load_of_two_users(tmp_path, *open_load, locustfile="open_load", pause_s=0.5) as web:

        def in_flight() -> float | None:
            return value(scraped(f"{web}/metrics"), "fourfold_requests_in_flight")

        assert until_true(lambda: 8 <= (in_flight() or 0) <= 12, 30)
        assert requests.post(f"{web}/stop", timeout=20).ok
        assert until_true(lambda: in_flight() is None, 30)


def test_docs_and_dashboard_name_the_metrics_that_are_served() -> None:
    entry = SimpleNamespace(
        method="POST", name="/infer", num_requests=1, num_failures=0, response_times={1: 1}, total_response_time=1
    )
    every_value = dict.fromkeys([*COUNTERS, *GAUGES], 1.0)
    families = [
        *in_flight_metrics(1),
        *open_metrics({}),
        *load_metrics([entry]),
        *replica_metrics([Seen("web.1", every_value, 1, True)], "swarm"),
    ]
    served = {sample.name for family in families for sample in family.samples} | {"fourfold_users"}
    assert queried_metrics()
    assert queried_metrics() <= served
    table = re.findall(r"^\| `(fourfold_\w+)` ", (ROOT / "docs" / "watching.md").read_text(encoding="utf-8"), re.M)
    histogram = "fourfold_response_time_seconds"
    assert {*table} == {name for name in served if not name.startswith(histogram)} | {histogram}


def test_the_dashboard_takes_the_data_source_that_the_user_chooses() -> None:
    text = (GRAFANA / "fourfold.json").read_text(encoding="utf-8")
    dashboard = json.loads(text)
    (chosen,) = dashboard["__inputs"]
    assert (chosen["type"], chosen["pluginId"]) == ("datasource", "prometheus")
    assert set(re.findall(r'"uid": "(\$.*)"', text)) == {f"${{{chosen['name']}}}"}
    assert len({panel["id"] for panel in dashboard["panels"]}) == len(dashboard["panels"])


def test_the_examples_scrape_locusts_own_port() -> None:
    config = yaml.safe_load((GRAFANA / "prometheus.yml").read_text(encoding="utf-8"))
    collector = yaml.safe_load((GRAFANA / "otel-collector.yml").read_text(encoding="utf-8"))
    assert collector["receivers"]["prometheus"]["config"] == config
    assert config["scrape_configs"][0]["static_configs"] == [{"targets": ["127.0.0.1:8089"]}]


def test_a_bucket_ends_where_locust_rounds_up() -> None:
    """In a process of its own, because importing Locust patches this one."""
    code = (
        "import sys; from locust.stats import bucket_response_time as key; print(*map(key, map(float, sys.argv[1:])))"
    )
    around_ms = [end_of_key_s(key) * 1000 + step for key in LAST_KEYS_MS for step in (-0.001, 0.001)]
    done = subprocess.run(
        [sys.executable, "-c", code, *map(str, around_ms)], capture_output=True, text=True, check=True
    )
    keys = [int(key) for key in done.stdout.split()]
    assert tuple(keys[::2]) == LAST_KEYS_MS
    assert all(above > last for above, last in zip(keys[1::2], LAST_KEYS_MS, strict=True))


def test_buckets_count_all_response_times_up_to_their_end() -> None:
    counted = dict(buckets({0: 1, 2: 3, 100: 5, 990: 7, 90_000: 11}))
    assert [counted[end] for end in ("0.0005", "0.0015", "0.0025", "0.0805", "0.105", "0.805", "1.05", "80.5")] == [
        1, 1, 4, 4, 9, 9, 16, 16,
    ]  # fmt: skip
    assert counted["+Inf"] == 27


def sample_of(replica_id: str, at_s: float, **values: float | None) -> dict[str, Any]:
    row = {"cpu_seconds": 7.5, "cpu_percent": 50.0, "memory_bytes": 900, "net_rx_bytes": None, "net_tx_bytes": 0}
    return row | {"replica": "web.1", "replica_id": replica_id, "node": "n1", "sampled_at_unix_s": at_s} | values


def shown(live: Live) -> dict[str, float]:
    families = replica_metrics(live.replicas(), live.deployment())
    return {
        sample.name.removeprefix("fourfold_replica_"): sample.value for family in families for sample in family.samples
    }


def test_a_value_that_is_not_known_has_no_line() -> None:
    live = Live({}, lambda: None, lambda: "swarm")
    live.add_event({"replica_id": "a", "event": FOUND})
    live.add_sample(sample_of("a", 100.0))
    counters = {"answers_total": 0.0, "cpu_seconds_total": 7.5, "network_transmit_bytes_total": 0.0}
    assert shown(live) == counters | {"up": 1.0, "cpu_ratio": 0.5, "memory_bytes": 900.0}
    live.add_event({"replica_id": "a", "event": NOT_SAMPLED})
    assert shown(live) == counters
    live.add_event({"replica_id": "a", "event": ENDED})
    assert shown(live) == counters | {"up": 0.0}
    live.add_sample(sample_of("b", 102.0, memory_bytes=None))  # its successor
    assert shown(live) == counters | {"up": 1.0, "cpu_ratio": 0.5}
    live.ended_at_s = 103.0
    assert shown(live) == counters


def test_a_replica_that_answers_and_is_not_sampled_has_its_answers_only() -> None:
    live = Live({}, lambda: None, lambda: "container")
    live.add_answers({'odd "name"\n': {100: 1}})
    assert shown(live) == {"answers_total": 1.0}
    (sample,) = [sample for family in replica_metrics(live.replicas(), "") for sample in family.samples]
    assert sample.labels == {"deployment": "", "replica": 'odd "name"\n', "node": ""}
