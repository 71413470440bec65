"""Simulated Locust workers: they speak Locust's protocol, and report requests that nobody sent.

    python -m benchmarks.intake_workers PORT WORKERS RATE REPLICAS

benchmarks/intake.py starts it. Each worker's report is made once, by our own ``Worker``, and sent again and again.
Only its times are new each time. So the workers take little CPU from the recording that is measured. At the end the
number of rows that were sent is printed.
"""

from __future__ import annotations

import json
import random
import re
import struct
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

ROWS_OF_REPORT = "simulated_rows"
"""Key of a report: how many requests are in it."""
REPORT_S = 3.0
"""``WORKER_REPORT_INTERVAL`` of locust/runners.py."""
EARLIEST_UNIX_S = 1.6e9
TEXTS = 160
FAILED = 1000
"""One of so many requests fails."""


def name_of(replica: int) -> str:
    return f"llm-inference-service.{replica + 1}"


def main() -> int:
    import gevent  # its sockets are Locust's

    sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "locustfiles"))
    port, count, rate, replicas = map(int, sys.argv[1:])
    reports = [Report(number, max(1, round(rate * REPORT_S / count)), replicas) for number in range(count)]
    workers = [SimulatedWorker(port, report, number * REPORT_S / count) for number, report in enumerate(reports)]
    gevent.joinall([gevent.spawn(worker.follow) for worker in workers], raise_error=True)
    print(json.dumps(sent_by(workers)))
    return 0


def sent_by(workers: Sequence[SimulatedWorker]) -> dict[str, float]:
    """What all workers have sent, how fast, and the CPU that they took for it."""
    steady = [worker for worker in workers if len(worker.sent) > 1]
    rates = [
        worker.report.rows * (len(worker.sent) - 1) / (worker.sent[-1].at_s - worker.sent[0].at_s) for worker in steady
    ]
    times = [at for worker in steady for at in worker.sent]
    first, last = min(times), max(times)
    return {
        "rows": sum(len(worker.sent) * worker.report.rows for worker in workers),
        "rows_per_s": sum(rates),
        "cpu_percent": (last.cpu_s - first.cpu_s) / (last.at_s - first.at_s) * 100,
    }


class Sent(NamedTuple):
    """When a report was sent, and the CPU time that this process had used by then."""

    at_s: float
    cpu_s: float


class Report:
    """A worker's report as Locust sends it, whose times can be set anew."""

    def __init__(self, number: int, rows: int, replicas: int) -> None:
        from locust.rpc.protocol import Message

        self.worker = f"simulated_{number}"
        self.rows = rows
        full, last = reports_of(number, rows, replicas)
        self._made_s = time.monotonic()
        self._full = Times(Message("stats", full, self.worker).serialize(), times_of(full))
        self._last = Times(Message("stats", last, self.worker).serialize(), times_of(last))

    def full(self) -> bytes:
        """A report with requests of the last seconds."""
        return self._full.later(time.monotonic() - self._made_s)

    def last(self) -> bytes:
        """A report without requests, the last one of a worker."""
        return self._last.later(time.monotonic() - self._made_s)


class Times:
    """A message with times in it: each a float of MessagePack (the byte 0xcb and eight more), those of requests also as
    text with six decimals."""

    def __init__(self, message: bytes, times: set[float]) -> None:
        import numpy as np

        self._message = np.frombuffer(message, dtype=np.uint8)
        packed, texts = {struct.pack(">d", at) for at in times}, {repr(at).encode() for at in times}
        floats = [found.start(1) for found in re.finditer(b"(?=\xcb(.{8}))", message, re.DOTALL) if found[1] in packed]
        decimals = [found.start() for found in re.finditer(rb"\d{10}\.\d{6}", message) if found[0] in texts]
        self._floats = np.array(floats)[:, None] + np.arange(8)
        self._digits = np.array(decimals, dtype=int)[:, None] + np.array([*range(10), *range(11, 17)])
        self._times = self._message[self._floats].view(">f8").astype(float)
        digits = self._message[self._digits].astype(np.int64) - ord("0")
        self._powers = 10 ** np.arange(15, -1, -1)
        self._texts_us = digits @ self._powers

    def later(self, by_s: float) -> bytes:
        """The message with all its times so much later."""
        changed = self._message.copy()
        changed[self._floats] = (self._times + by_s).astype(">f8").view("u1")
        us = self._texts_us + round(by_s * 1e6)
        changed[self._digits] = us[:, None] // self._powers % 10 + ord("0")
        return changed.tobytes()


def reports_of(number: int, rows: int, replicas: int) -> tuple[dict[str, Any], dict[str, Any]]:
    """A report with that many requests, and the last report of a worker, both made by our own ``Worker``."""
    from locust.event import Events
    from locust.stats import RequestStats, setup_distributed_stats_event_listeners

    from _workers import Worker

    events, stats, made = Events(), RequestStats(), []

    def report() -> None:
        data: dict[str, Any] = {}
        events.report_to_master.fire(client_id="", data=data)
        made.append(data | {"user_classes_count": {"KeepAliveUser": 1}, "user_count": 1, ROWS_OF_REPORT: 0})

    setup_distributed_stats_event_listeners(events, stats)
    environment = SimpleNamespace(fourfold=SimpleNamespace(open_load=None))
    Worker(SimpleNamespace(environment=environment, _send_stats=report), "X-Replica").register(events)
    events.test_start.fire(environment=environment)
    for event in requests_of(number, rows, replicas):
        stats.log_request("POST", "/infer", event["response_time"], event["response_length"])
        events.request.fire(**event)
    report()
    events.test_stop.fire(environment=environment)
    full, last = made
    return full | {ROWS_OF_REPORT: rows}, last


def requests_of(number: int, rows: int, replicas: int) -> Iterator[dict[str, Any]]:
    """The requests of one report as Locust's event tells them; sent at even distances until now."""
    chance = random.Random(number)  # noqa: S311  no secret
    now = time.time()
    for place in range(rows):
        response_time = chance.lognormvariate(2, 0.4)
        sent = now - REPORT_S * (1 - place / rows) - response_time / 1000
        headers = {
            "x-replica": name_of(chance.randrange(replicas)),
            "server-timing": f"queue;dur={chance.random():.3f}, inference;dur={response_time / 2:.3f}",
        }
        has_failed = chance.randrange(FAILED) == 0
        yield {
            "request_type": "POST",
            "name": "/infer",
            "response_time": response_time,
            "response_length": chance.randrange(100, 300),
            "response": SimpleNamespace(status_code=500 if has_failed else 200, headers=headers),
            "context": {
                "text_id": place % TEXTS + 1,
                "request_bytes": chance.randrange(20, 200),
                "connection_reused": True,
                "client_wait_ms": chance.random() / 10,
                "retried": False,
            },
            "exception": ValueError("status 500") if has_failed else None,
            "start_time": float(f"{sent:.5f}{1 + place % 9}"),  # always with six decimals, as ``Times`` needs it
            "url": None,
        }


def times_of(data: Any) -> set[float]:
    """All times in a report: those of the day, and those that its worker tells by ``time.monotonic()``."""
    from _workers import STEADY_S

    if isinstance(data, dict):
        steady = {data[STEADY_S]} if STEADY_S in data else set()
        return steady.union(*map(times_of, data.values()))
    if isinstance(data, list | tuple):
        return set().union(*map(times_of, data))
    return {data} if isinstance(data, float) and data > EARLIEST_UNIX_S else set()


class SimulatedWorker:
    """One worker: connects, says that it runs its users once it is asked to, reports, and ends when it is told."""

    def __init__(self, port: int, report: Report, first_report_s: float) -> None:
        from locust.rpc.zmqrpc import Client

        self.sent: list[Sent] = []
        self.report = report
        self._state = "ready"
        self._first_report_s = first_report_s
        self._client = Client("127.0.0.1", port, report.worker)

    def follow(self) -> None:
        import gevent
        from locust import __version__

        self._send("client_ready", __version__)
        beating, reporting = gevent.spawn(self._beat), None
        while True:
            told = self._client.recv()
            if told.type == "spawn" and reporting is None:
                self._state = "running"
                self._send("spawning", None)
                counts = told.data["user_classes_count"]
                self._send("spawning_complete", {"user_classes_count": counts, "user_count": sum(counts.values())})
                reporting = gevent.spawn(self._report_regularly)
            elif told.type == "quit":
                break
        gevent.killall([beating, *([reporting] if reporting else [])])
        self._client.socket.send(self.report.last())
        self._client.close(linger=10_000)

    def _report_regularly(self) -> None:
        import gevent

        gevent.sleep(self._first_report_s)
        due_s = time.monotonic()
        while True:
            due_s += REPORT_S
            gevent.sleep(max(0.0, due_s - time.monotonic()))
            self._client.socket.send(self.report.full())
            self.sent.append(Sent(time.monotonic(), time.process_time()))

    def _beat(self) -> None:
        import gevent

        while True:
            self._send("heartbeat", {"state": self._state, "current_cpu_usage": 50, "current_memory_usage": 10**8})
            gevent.sleep(1)

    def _send(self, type_: str, data: Any) -> None:
        from locust.rpc.protocol import Message

        self._client.send(Message(type_, data, self.report.worker))


if __name__ == "__main__":
    sys.exit(main())
