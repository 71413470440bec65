"""The replica monitor over the life of replicas: what it writes when they come, go, return and can't be read."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from types import SimpleNamespace
from typing import Any

import gevent
import pytest
from _replicas import NoReplicas, Replica
from gevent.event import Event

import _monitor
from _counters import Counters, Interface
from _monitor import Monitor
from _read_docker import Engine

DENIED = "permission is denied; for Docker's socket, join its group or run as its user"


class Container:
    """Uses a fifth of a core; runs, ends, and refuses to be read as it is told."""

    def __init__(self, id: str) -> None:
        self.id = id
        self.runs = True
        self.is_denied = False
        self.is_anew = True
        self.cpu_seconds = 10.0
        self._at = 1000.0
        self.other_names: list[str] = []
        self.doubt: str | None = None

    def read(self) -> Counters | None:
        if self.is_denied:
            raise PermissionError("socket denied")
        self._at += 0.05
        self.cpu_seconds += 0.01
        interfaces = {"eth0": Interface(round(self.cpu_seconds * 100), 7, 3, 2), "eth1": Interface(1, 1, 1, 1)}
        return Counters(self._at, self.cpu_seconds, 500, 900, interfaces, 1, 2, 3, 0.5) if self.runs else None

    def replica(self, name: str) -> Replica:
        return Replica(
            name,
            self.id,
            "n1",
            self.read,
            None,
            f"task-{self.id}",
            "running",
            lambda: "exit code 137",
            lambda: self.is_anew,
            other_names=lambda: self.other_names,
            doubt=self.doubt,
        )


class Service:
    """A finder of the containers that run under each name."""

    target = "swarm:web"

    def __init__(self, **containers: Container) -> None:
        self.containers = containers
        self.others: list[Replica] = []

    def close(self) -> None:
        pass

    def explain_unsampled(self, names: list[str]) -> str:
        return f"use --replicas for {' and '.join(names)}"

    def replicas(self) -> list[Replica]:
        found = [container.replica(name) for name, container in self.containers.items() if container.runs] + self.others
        if not found:
            raise NoReplicas("nobody is there")
        return found


class Watched:
    """A monitor at work, and what it has written."""

    def __init__(self, service: Service, interval_s: float = 0.05) -> None:
        self.samples: list[dict[str, Any]] = []
        self.events: list[dict[str, Any]] = []
        self.faults: list[tuple[str, str]] = []
        self.monitor = Monitor(
            service,  # type: ignore[arg-type]
            interval_s,
            self.samples.append,
            self.events.append,
            lambda kind, text: self.faults.append((kind, text)),
        )
        self.monitor.start()

    def told(self) -> list[tuple[str, str, str]]:
        return [(event["event"], event["replica"], event["detail"]) for event in self.events]

    def until_told(self, *events: str) -> None:
        """Until all these were told, in this order, and no others."""
        until(lambda: [event["event"] for event in self.events] == [*events])

    def until_sampled(self, replica_id: str, times: int) -> None:
        """Until this one was sampled so many times more."""
        most = times + sum(row["replica_id"] == replica_id for row in self.samples)
        until(lambda: sum(row["replica_id"] == replica_id for row in self.samples) >= most)


def until(condition: Callable[[], bool]) -> None:
    """Wait for what greenlets do."""
    with gevent.Timeout(30):
        while not condition():
            gevent.sleep(0.02)


@pytest.fixture(autouse=True)
def _in_a_hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_monitor, "FIND_EVERY_S", 0.1)
    monkeypatch.setattr(_monitor, "FIRST_PAUSE_S", 0.1)


def test_a_sample_holds_counters_and_rates() -> None:
    began_s = time.monotonic()
    watched = Watched(Service(web1=Container("1")))
    watched.until_sampled("1", 5)
    watched.monitor.stop()
    most = (time.monotonic() - began_s) / 0.05 + 3  # at its begin and its end there are some out of turn
    first, second = watched.samples[:2]
    assert first["cpu_percent"] is None
    assert first["net_rx_bytes_per_s"] is None
    assert second["cpu_percent"] == pytest.approx(20)
    assert second["net_rx_bytes_per_s"] == pytest.approx(20)
    assert second["net_tx_bytes_per_s"] == 0
    assert (second["net_rx_packets"], second["net_tx_packets"]) == (4, 3)
    assert second["interfaces"] == '{"eth0":[1002,7,3,2],"eth1":[1,1,1,1]}'
    assert (second["generation"], second["state"], second["pids"]) == ("task-1", "running", 3)
    assert (second["block_read_bytes"], second["block_write_bytes"], second["throttled_seconds"]) == (1, 2, 0.5)
    assert len(watched.samples) <= most
    assert watched.told() == [("found", "web1", "")]


@pytest.mark.parametrize(("takes_s", "sampled"), [(0.3, {"1", "2"}), (30.0, {"2"})])
def test_the_load_waits_for_first_samples_but_not_for_an_engine_that_hangs(
    monkeypatch: pytest.MonkeyPatch, takes_s: float, sampled: set[str]
) -> None:
    monkeypatch.setattr(_monitor, "FIRST_SAMPLE_S", 1.0)
    monkeypatch.setattr(_monitor, "LAST_SAMPLE_S", 0.1)
    slow, denied = Container("1"), Container("3")
    read, denied.is_denied = slow.read, True

    def read_slowly() -> Counters | None:
        gevent.sleep(takes_s)
        return read()

    slow.read = read_slowly  # type: ignore[method-assign]
    watched = Watched(Service(web1=slow, web2=Container("2"), web3=denied))
    began_s = time.monotonic()
    watched.monitor.await_first_samples()
    assert {row["replica_id"] for row in watched.samples} == sampled
    assert time.monotonic() - began_s < 10
    watched.monitor.stop()


def test_one_that_ends_is_noted_with_its_reason_and_its_successor_begins_anew() -> None:
    old, new = Container("1"), Container("2")
    service = Service(web1=old)
    watched = Watched(service)
    watched.until_sampled("1", 3)
    old.runs = False
    watched.until_told("found", "ended")
    until(lambda: bool(watched.monitor.problems))
    service.containers = {"web1": new}
    watched.until_sampled("2", 3)
    watched.monitor.stop()
    assert watched.told() == [("found", "web1", ""), ("ended", "web1", "exit code 137"), ("started", "web1", "")]
    (begin,) = [row for row in watched.samples if row["replica_id"] == "2" and row["cpu_percent"] is None][:-1]
    assert begin["generation"] == "task-2"
    assert watched.monitor.problems == ["replicas of swarm:web can't be found: nobody is there"]


def test_one_that_is_restarted_keeps_its_name_and_has_no_negative_rate() -> None:
    container = Container("1")
    watched = Watched(Service(web1=container))
    watched.until_sampled("1", 3)
    container.runs = False
    watched.until_told("found", "ended")
    container.runs, container.cpu_seconds = True, 0.0
    watched.until_sampled("1", 3)
    container.cpu_seconds = 0.0  # so fast that nobody missed it
    watched.until_sampled("1", 3)
    watched.monitor.stop()
    assert [event for event, _, _ in watched.told()] == ["found", "ended", "restarted", "restarted"]
    rates = [row["cpu_percent"] for row in watched.samples if row["cpu_percent"] is not None]
    assert all(rate == pytest.approx(20) for rate in rates)


def test_one_that_has_ended_and_is_still_listed_was_not_restarted() -> None:
    container, service = Container("1"), Service()
    service.others = [container.replica("web1")]  # listed whether it runs or not
    watched = Watched(service)
    watched.until_sampled("1", 1)
    container.runs, container.is_anew = False, False
    watched.until_told("found", "ended")
    gevent.sleep(0.3)  # looks that find it
    watched.until_told("found", "ended")
    container.runs = container.is_anew = True
    watched.until_told("found", "ended", "restarted")
    watched.monitor.stop()


def test_a_container_is_anew_if_it_runs_and_has_begun_again() -> None:
    state: dict[str, Any] = {"Running": True, "StartedAt": "1", "ExitCode": 0}
    engine = Engine.__new__(Engine)
    engine.client = SimpleNamespace(api=SimpleNamespace(inspect_container=lambda _: {"State": state}))
    engine.name, engine._started_at = "n1", {"id": "1"}
    container = engine.container("web", "id")
    assert not container.is_anew()  # the engine has not seen its end yet
    state |= {"StartedAt": "2"}
    assert container.is_anew()
    state |= {"Running": False}
    assert not container.is_anew()
    assert container.why_ended() == "exit code 0"
    state |= {"Running": True}
    assert not container.is_anew()
    state |= {"StartedAt": "3"}
    assert container.is_anew()


def test_what_comes_and_goes_is_noted() -> None:
    service = Service(web1=Container("1"))
    watched = Watched(service)
    service.containers["web2"] = Container("2")
    watched.until_sampled("2", 1)
    service.containers.pop("web2").runs = False
    watched.until_told("found", "started", "ended")
    watched.until_sampled("1", 1)
    watched.monitor.stop()
    assert watched.told() == [("found", "web1", ""), ("started", "web2", ""), ("ended", "web2", "exit code 137")]
    assert {row["replica"] for row in watched.samples} == {"web1", "web2"}


def test_a_gap_is_a_gap_and_noted_with_its_reason_once() -> None:
    container = Container("1")
    watched = Watched(Service(web1=container))
    watched.until_sampled("1", 2)
    container.is_denied = True
    watched.until_told("found", "not sampled")
    gevent.sleep(0.3)  # it is tried again, in vain
    container.is_denied = False
    watched.until_sampled("1", 2)
    watched.monitor.stop()
    assert watched.told() == [
        ("found", "web1", ""),
        ("not sampled", "web1", DENIED),
        ("sampled again", "web1", ""),
    ]
    assert watched.monitor.problems == ["no samples of web1 for a while: " + DENIED]
    assert sum(row["cpu_percent"] is None for row in watched.samples) == 3  # the first, that after the gap, the last


def test_one_that_drains_is_there_until_it_ends() -> None:
    draining = Container("2")
    service = Service(web1=Container("1"), web2=draining)
    watched = Watched(service)
    watched.until_sampled("2", 1)
    service.containers.pop("web2")  # no longer listed, and still at work
    watched.until_sampled("2", 8)
    draining.runs = False
    watched.until_told("found", "found", "ended")
    watched.monitor.stop()
    assert watched.told() == [("found", "web1", ""), ("found", "web2", ""), ("ended", "web2", "exit code 137")]


def test_who_answers_and_is_not_sampled_is_told_once_with_the_option() -> None:
    watched = Watched(Service(proxy=Container("1")))
    for name in ("proxy", "1", "app-2", "app-1"):
        watched.monitor.note_answer(name)
    until(lambda: bool(watched.faults))  # while the run goes on
    watched.monitor.note_answer("app-1")
    gevent.sleep(0.3)
    watched.monitor.stop()
    text = "app-1, app-2 answered and were not sampled (sampled: proxy); use --replicas for app-1 and app-2"
    assert watched.faults == [("unsampled", text)]
    assert watched.monitor.problems == [text]


def test_a_short_run_tells_at_its_end_who_was_not_sampled() -> None:
    watched = Watched(Service(proxy=Container("1")))
    watched.until_sampled("1", 1)
    watched.monitor.note_answer("app-1")
    watched.monitor.stop()
    assert [text for _, text in watched.faults] == [
        "app-1 answered and was not sampled (sampled: proxy); use --replicas for app-1"
    ]


def test_who_has_just_come_or_has_another_name_is_not_unsampled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_monitor, "FIND_EVERY_S", 60)
    service = Service(web1=Container("1"))
    service.containers["web2"] = new = Container("2")
    new.other_names = ["its-host-name"]
    new.runs = False
    watched = Watched(service)
    watched.until_sampled("1", 1)
    new.runs = True
    watched.monitor.note_answer("web1")
    watched.monitor.note_answer("web2")
    watched.monitor.note_answer("its-host-name")
    watched.monitor.stop()
    assert watched.faults == []
    assert [replica.answers_as for replica in watched.monitor.record()] == [(), ("its-host-name",)]
    assert "2" in {row["replica_id"] for row in watched.samples}


def test_one_that_is_out_of_reach_and_answers_is_told_with_its_reason() -> None:
    service = Service(web1=Container("1"))
    there = Replica("web.2", "2", "n2", None, "runs on another node: name it (--docker-host)")
    service.others = [there]
    watched = Watched(service)
    watched.monitor.note_answer("web.2")
    until(lambda: bool(watched.faults))
    watched.monitor.stop()
    (fault,) = watched.faults
    assert (
        fault[1] == "web.2 answered and was not sampled (sampled: web1); runs on another node: name it (--docker-host)"
    )


def test_who_answers_in_place_of_one_that_has_ended_is_told() -> None:
    container = Container("1")
    watched = Watched(Service(web=container))
    watched.until_sampled("1", 1)
    watched.monitor.note_answer("web", time.time())
    container.runs = False
    until(lambda: any(event == "ended" for event, _, _ in watched.told()))
    watched.monitor.note_answer("web", time.time())
    watched.monitor.stop()
    (fault,) = watched.faults
    assert fault == (
        "unsampled",
        "web answered after the process that was sampled as web had ended and was not sampled; use --replicas for web",
    )


def test_who_ends_and_answers_no_more_is_no_fault() -> None:
    container = Container("1")
    watched = Watched(Service(web=container))
    watched.until_sampled("1", 1)
    began_unix_s = time.time()
    container.runs = False
    until(lambda: any(event == "ended" for event, _, _ in watched.told()))
    watched.monitor.note_answer("web", began_unix_s)  # reported late
    watched.monitor.stop()
    assert watched.faults == []


@pytest.mark.parametrize(("name", "who"), [("web", "web"), ("", "somebody without a name (no X-Replica)")])
def test_where_nobody_is_sampled_who_answers_is_told(name: str, who: str) -> None:
    watched = Watched(Service())
    watched.monitor.note_answer(name)
    watched.monitor.stop()
    (fault,) = watched.faults
    assert fault[1].startswith(f"{who} answered and was not sampled; ")


def test_a_replica_that_may_not_be_the_service_is_a_problem() -> None:
    container = Container("1")
    container.doubt = "nginx (process 1) is sampled under its own name"
    watched = Watched(Service(nginx=container))
    watched.until_sampled("1", 3)
    watched.monitor.stop()
    assert watched.monitor.problems == [container.doubt]


def test_a_sample_of_all_at_once_does_not_wait_for_an_engine() -> None:
    instant, slow = Container("1"), Container("2")
    may_answer = Event()

    def read_slowly() -> Counters | None:
        may_answer.wait()
        may_answer.clear()
        return Container.read(slow)

    slow.read = read_slowly  # type: ignore[method-assign]
    service = Service(web1=instant)
    service.others = [replace(slow.replica("web2"), is_instant=lambda: False)]
    watched = Watched(service, interval_s=600)

    def sampled() -> list[str]:
        return [row["replica"] for row in watched.samples]

    until(lambda: sampled() == ["web1"])  # the first reading of web2 goes on
    assert watched.monitor.sample_now() is None
    assert sampled() == ["web1", "web1"]
    may_answer.set()
    until(lambda: sampled() == ["web1", "web1", "web2"])
    assert watched.monitor.sample_now() is None
    assert sampled() == ["web1", "web1", "web2", "web1"]
    may_answer.set()
    until(lambda: sampled() == ["web1", "web1", "web2", "web1", "web2"])
    may_answer.set()
    watched.monitor.stop()


def test_a_sample_out_of_turn_and_the_next_one_do_not_read_a_stream_at_once(
    capsys: pytest.CaptureFixture[str],
) -> None:
    container = Container("1")

    def frames() -> Iterator[Counters | None]:
        while True:
            gevent.sleep(0.12)
            yield Container.read(container)

    stream = frames()
    container.read = lambda: next(stream)  # type: ignore[method-assign]
    service = Service()
    service.others = [replace(container.replica("web"), is_instant=lambda: False)]
    watched = Watched(service)
    for _ in range(3):
        had = len(watched.samples)
        until(partial(lambda had: len(watched.samples) > had, had))
        watched.monitor.sample_now()  # one pass ends
        watched.monitor.sample_now()  # and the next begins
    had = len(watched.samples)
    until(lambda: len(watched.samples) > had + 2)
    watched.monitor.stop()
    assert [event for event, *_ in watched.told()] == ["found"]
    assert capsys.readouterr().err == ""


def test_a_sample_of_all_at_once_tells_the_cpu_of_each() -> None:
    one, other = Container("1"), Container("2")
    watched = Watched(Service(web1=one, web2=other))
    watched.until_sampled("2", 1)
    had = len(watched.samples)
    assert watched.monitor.sample_now() == {"1": one.cpu_seconds, "2": other.cpu_seconds}
    assert [row["replica"] for row in watched.samples[had:]] == ["web1", "web2"]
    other.is_denied = True
    assert watched.monitor.sample_now() is None
    assert "a sample of web2 is missing" in watched.monitor.problems[-1]
    watched.monitor.stop()
