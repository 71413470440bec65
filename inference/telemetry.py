"""The counters and histograms of ``GET /metrics``, in Prometheus' text format."""

from __future__ import annotations

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4

from inference.classifier import Classification
from inference.metrics_log import FILE_FAULTS
from inference.refusals import FAULTS

SECONDS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5)
BATCH_SIZES = (1, 2, 4, 8, 16, 32)


class Telemetry:
    """The service's counters, gauges and histograms, in their own registry."""

    content_type = CONTENT_TYPE_PLAIN_0_0_4

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self._answers = Counter(
            "inference_requests", "Requests to classify a text, by status", ["status"], registry=self._registry
        )
        self._abandoned = Counter(
            "inference_abandoned", "Whole requests whose client left before the answer", registry=self._registry
        )
        self._faults = Counter(
            "inference_client_faults", "What clients did wrong, by kind", ["kind"], registry=self._registry
        )
        self._file_faults = Counter(
            "inference_metrics_file_faults",
            "What kept rows from the metrics file or took it away, by kind",
            ["kind"],
            registry=self._registry,
        )
        for counter, kinds in ((self._faults, FAULTS), (self._file_faults, FILE_FAULTS)):
            for kind in kinds:
                counter.labels(kind)
        self._queue_length = Gauge("inference_queue_length", "Texts that wait for the model", registry=self._registry)
        self._queue = self._histogram("inference_queue_seconds", "Time that a text waited for the model")
        self._inference = self._histogram("inference_compute_seconds", "Time from a text to its label")
        self._batch = Histogram(
            "inference_batch_size", "Texts computed together", buckets=BATCH_SIZES, registry=self._registry
        )

    def watch_queue(self, length: Callable[[], int]) -> None:
        """Call ``length`` for the length of the queue each time the metrics are read."""
        self._queue_length.set_function(length)

    def answered(self, status: int) -> None:
        """Count a request to ``/infer`` that was answered with ``status``."""
        self._answers.labels(status).inc()

    def classified(self, found: Classification) -> None:
        """Add the times of a text that got its label."""
        self._queue.observe(found.queue_ms / 1000)
        self._inference.observe(found.inference_ms / 1000)

    def abandoned(self) -> None:
        """Count a whole request whose client left before the answer."""
        self._abandoned.inc()

    def fault(self, kind: str) -> None:
        """Count a fault of a client. ``kind`` is one of FAULTS."""
        self._faults.labels(kind).inc()

    def file_fault(self, kind: str) -> None:
        """Count a fault of the metrics file. ``kind`` is one of FILE_FAULTS."""
        self._file_faults.labels(kind).inc()

    def batch(self, size: int) -> None:
        """Add the size of a batch."""
        if size:
            self._batch.observe(size)

    def text(self) -> bytes:
        """All metrics, as Prometheus reads them."""
        return generate_latest(self._registry)

    def _histogram(self, name: str, help: str) -> Histogram:
        return Histogram(name, help, buckets=SECONDS, registry=self._registry)
