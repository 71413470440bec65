"""``/metrics`` of Locust's web server: the figures of the run that goes on, in Prometheus' text format.

All of them are read from Locust's statistics and from ``Live`` when they are asked for. A request costs no more for it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING

from _open_counts import DUE, LATE, OPEN_COUNTS
from flask import Blueprint, Response
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from prometheus_client.registry import Collector

from runfiles.events import DROPPED, LATE_MS, OVER_BOUND, UNANSWERED

from _live import Live, Seen, base_path

if TYPE_CHECKING:  # importing Locust patches sockets, which reading figures does not need
    from locust.env import Environment
    from locust.stats import StatsEntry

REQUEST_LABELS = ("method", "name")
REPLICA_LABELS = ("deployment", "replica", "node")

DIGITS = (10, 15, 20, 25, 30, 40, 50, 60, 80)
LAST_KEYS_MS = (0, 1, 2, 3, 4, 5, 6, 8, *(digits * 10**power for power in range(4) for digits in DIGITS))
"""Buckets end at these keys of ``StatsEntry.response_times``, and at infinity."""

COUNTERS = {
    "cpu_seconds": ("fourfold_replica_cpu_seconds", "CPU time that the replica has used since it started"),
    "net_rx_bytes": (
        "fourfold_replica_network_receive_bytes",
        "Bytes that the replica's interfaces have received since it started",
    ),
    "net_tx_bytes": (
        "fourfold_replica_network_transmit_bytes",
        "Bytes that the replica's interfaces have sent since it started",
    ),
}
GAUGES = {
    "cpu_percent": ("fourfold_replica_cpu_ratio", "CPU since the sample before; 1 is one core", 0.01),
    "memory_bytes": ("fourfold_replica_memory_bytes", "Memory in use, as PREFIX_replica_stats.csv counts it", 1.0),
}
"""Column of ``REPLICA_STATS_COLUMNS`` -> the metric that shows it, its help, and by what it is multiplied."""

OPEN_MEANINGS = {
    DUE: "Requests of an open workload that were due since the run began",
    LATE: f"Those that were sent more than {LATE_MS:g} ms late: the load generator did not keep the rate",
    DROPPED: "Those that were never sent, because the load generator was more than 1 s behind",
    OVER_BOUND: "Those that were not sent, because too many others were unanswered: the service is too slow",
    UNANSWERED: "Those that were sent and given up, because their answers had not come when the load ended",
}
"""Word of ``OPEN_COUNTS`` -> the help of its metric."""


class Figures(Collector):
    """The figures of a Locust process that has a web UI. The arguments are those of ``serve_metrics``."""

    def __init__(
        self,
        environment: Environment,
        current: Callable[[], Live | None],
        in_flight: Callable[[], int | None],
        open_counts: Callable[[], Mapping[str, int] | None],
    ) -> None:
        self._environment = environment
        self._current = current
        self._in_flight = in_flight
        self._open_counts = open_counts

    def collect(self) -> Iterator[Metric]:
        users = self._environment.runner.user_count
        yield GaugeMetricFamily(
            "fourfold_users",
            "Users that run now; in a closed workload each has one request at a time, in an open one they do not count",
            users,
        )
        yield from in_flight_metrics(self._in_flight())
        yield from open_metrics(self._open_counts())
        yield from load_metrics(self._environment.stats.entries.values())
        live = self._current()
        yield from replica_metrics(live.replicas() if live else (), live.deployment() if live else "")


def serve_metrics(
    environment: Environment,
    current: Callable[[], Live | None],
    in_flight: Callable[[], int | None],
    open_counts: Callable[[], Mapping[str, int] | None],
) -> None:
    """Add ``/metrics`` to the web UI.

    Args:
        environment: that of the Locust process.
        current: gives the run that is shown; None before a run.
        in_flight: gives the requests of an open workload that are not answered yet; None: no such workload runs.
        open_counts: gives what became of its requests, by the words of ``OPEN_COUNTS``; None: it is a closed one.
    """
    web = environment.web_ui
    registry = CollectorRegistry()
    registry.register(Figures(environment, current, in_flight, open_counts))
    pages = Blueprint("fourfold_metrics", __name__, url_prefix=base_path(environment) or None)

    @pages.route("/metrics")
    @web.auth_required_if_enabled
    def metrics() -> Response:
        return Response(generate_latest(registry), content_type=CONTENT_TYPE_PLAIN_0_0_4)

    web.app.register_blueprint(pages)


def in_flight_metrics(in_flight: int | None) -> Iterator[Metric]:
    """The requests in flight, which only an open workload knows."""
    if in_flight is not None:
        meaning = "Requests of an open workload that were sent and are not answered yet"
        yield GaugeMetricFamily("fourfold_requests_in_flight", meaning, in_flight)


def open_metrics(counts: Mapping[str, int] | None) -> Iterator[Metric]:
    """What became of the requests of an open workload. A closed one has no such lines."""
    for name in OPEN_COUNTS if counts is not None else ():
        metric = f"fourfold_requests_{name.replace(' ', '_')}"
        yield CounterMetricFamily(metric, OPEN_MEANINGS[name], (counts or {}).get(name, 0))


def load_metrics(entries: Iterable[StatsEntry]) -> Iterator[Metric]:
    """Requests, failures and response times of Locust's statistics, by method and name."""
    requests = CounterMetricFamily(
        "fourfold_requests", "Requests that were answered or failed since the run began", labels=REQUEST_LABELS
    )
    failures = CounterMetricFamily(
        "fourfold_request_failures", "Requests that failed since the run began", labels=REQUEST_LABELS
    )
    times = HistogramMetricFamily(
        "fourfold_response_time_seconds",
        "Response times since the run began, also of failed requests. Locust rounds them to whole milliseconds, above "
        "100 ms to two digits. Buckets end where it rounds up, so their counts are exact",
        labels=REQUEST_LABELS,
    )
    for entry in entries:
        labels = (entry.method, entry.name)
        requests.add_metric(labels, entry.num_requests)
        failures.add_metric(labels, entry.num_failures)
        times.add_metric(labels, buckets(entry.response_times), entry.total_response_time / 1000)
    yield from (requests, failures, times)


def buckets(response_times: Mapping[int, int]) -> list[tuple[str, float]]:
    """Cumulative buckets, each with its upper bound in seconds, of counts by response time (ms) as Locust rounds it."""
    found = [
        (str(end_of_key_s(last)), float(sum(count for key, count in response_times.items() if key <= last)))
        for last in LAST_KEYS_MS
    ]
    return [*found, ("+Inf", float(sum(response_times.values())))]


def end_of_key_s(key_ms: int) -> float:
    """The longest response time (s) that Locust counts under this key (``locust.stats.bucket_response_time``)."""
    step_ms = 1 if key_ms < 100 else 10 if key_ms < 1000 else 100 if key_ms < 10_000 else 1000
    return (key_ms + step_ms / 2) / 1000


def replica_metrics(replicas: Iterable[Seen], deployment: str) -> Iterator[Metric]:
    """What was last seen of each replica. A value that was not measured has no line; nor has a gauge of a replica that
    is not sampled now."""
    up = GaugeMetricFamily(
        "fourfold_replica_up", "1: the replica runs and is sampled, 0: it has ended", labels=REPLICA_LABELS
    )
    answers = CounterMetricFamily(
        "fourfold_replica_answers",
        "Requests that the replica answered without an error since the run began",
        labels=REPLICA_LABELS,
    )
    counters = {column: CounterMetricFamily(*about, labels=REPLICA_LABELS) for column, about in COUNTERS.items()}
    gauges = {
        column: GaugeMetricFamily(name, meaning, labels=REPLICA_LABELS) for column, (name, meaning, _) in GAUGES.items()
    }
    for replica in replicas:
        labels = (deployment if replica.last else "", replica.name, replica.last.get("node") or "")
        answers.add_metric(labels, replica.answers)
        for column, counter in counters.items():
            if (value := replica.last.get(column)) is not None:
                counter.add_metric(labels, value)
        if replica.is_up is not None:
            up.add_metric(labels, replica.is_up)
        for column, gauge in gauges.items():
            if replica.is_up and (value := replica.last.get(column)) is not None:
                gauge.add_metric(labels, value * GAUGES[column][2])
    yield from (up, answers, *counters.values(), *gauges.values())
