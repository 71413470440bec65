"""The blank: the load generator against a responder with the service's own answer, by a real service and Locust."""

from __future__ import annotations

import csv
import json
import os
import signal
import socket
import statistics
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
import pytest
from conftest import OWN, ROOT, Service, free_port

from infra.deployments import host
from infra.deployments.settings import Settings
from infra.deployments.table import deployed
from infra.deployments.waiting import until_true
from infra.experiment import blank
from infra.experiment.blank import fetch_answer, measure_blank
from runfiles.events import FAILED, STATUS_MEASURED
from runfiles.records import BlankRecord, RunRecord
from servicefile.texts import requests_of

FILES = {
    *("answer.http", "load.log", "load_requests.csv", "load_run.json", "load_machine_stats.csv"),
    *("load_replica_stats.csv", "load_replica_events.csv"),
}
"""Beside Locust's own."""

shown: list[str] = []


def show(text: str) -> None:
    shown.append(text)


def children() -> set[int]:
    return {process.pid for process in psutil.Process().children(recursive=True)}


def rows(file: Path) -> list[dict[str, str]]:
    with file.open(encoding="utf-8", newline="") as lines:
        return list(csv.DictReader(lines))


def posted(service: Service, *fields: str) -> bytes:
    """The service's answer to a text, byte by byte as it comes."""
    bodies = sorted((text.body for text in requests_of(OWN.request)), key=len)
    body = bodies[len(bodies) // 2]
    head = ["POST /infer HTTP/1.1", "Host: h", "Content-Type: application/json", "Accept: text/csv", *fields]
    with socket.create_connection(("127.0.0.1", service.port), timeout=10) as client:
        client.sendall("\r\n".join([*head, f"Content-Length: {len(body)}", "", ""]).encode() + body)
        got = client.recv(65536)
        while b"\r\n\r\n" not in got or len(got) < got.index(b"\r\n\r\n") + 4 + length_of(got):
            got += client.recv(65536)
    return got


def length_of(answer: bytes) -> int:
    (field,) = [line for line in answer.lower().split(b"\r\n") if line.startswith(b"content-length:")]
    return int(field.partition(b":")[2])


def names(answer: bytes) -> list[bytes]:
    return sorted(line.partition(b":")[0].lower() for line in answer.partition(b"\r\n\r\n")[0].split(b"\r\n")[1:])


def test_the_answer_is_that_of_the_service_to_a_text_of_middle_length(shared_service: Service) -> None:
    answer, by_hand = fetch_answer(shared_service.url, OWN.request), posted(shared_service)
    assert names(answer) == names(by_hand)
    assert answer.startswith(b"HTTP/1.1 200 ")
    # The times in it have not always the same number of digits.
    assert len(answer) == pytest.approx(len(by_hand), abs=10)
    assert length_of(answer) == len(answer.partition(b"\r\n\r\n")[2])
    (row,) = csv.DictReader(answer.partition(b"\r\n\r\n")[2].decode().splitlines())
    with (ROOT / "texts" / "reviews.csv").open(encoding="utf-8", newline="") as file:
        bodies = [json.dumps({"text": text["text"]}, ensure_ascii=False).encode() for text in csv.DictReader(file)]
    asked = json.dumps({"text": row["Input Text"]}, ensure_ascii=False).encode()
    assert len([body for body in bodies if len(body) < len(asked)]) in range(70, 81)
    assert asked in bodies


@contextmanager
def server(*answers: bytes) -> Iterator[str]:
    """A service that answers each connection in turn with some bytes, and closes it; its URL."""

    def serve() -> None:
        with suppress(OSError):  # the test has ended before all of them were asked for
            for answer in answers:
                client, _ = listener.accept()
                with client:
                    client.recv(65536)
                    client.sendall(answer)
                    client.shutdown(socket.SHUT_WR)
                    while client.recv(65536):  # what is left unread would make the kernel reset the connection
                        pass

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()


FRAMED = b"HTTP/1.1 200 OK\r\nX-Replica: r\r\nContent-Length: 5\r\n\r\nab\ncd"


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nX-Replica: r\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nab\n\r\n2\r\ncd\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nConnection: close\r\nX-Replica: r\r\n\r\nab\ncd",
        b"HTTP/1.0 200 OK\r\nX-Replica: r\r\n\r\nab\ncd",
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 5\r\nX-Replica: r\r\n\r\nab\ncd",
    ],
)
def test_an_answer_in_another_frame_becomes_one_with_a_length_that_keeps_the_connection(answer: bytes) -> None:
    with server(answer) as url:
        assert fetch_answer(url, OWN.request) == FRAMED


def why_failed(folder: Path, url: str, user_class: str = "keep_alive", cpus: str | None = None) -> str:
    record = measure_blank(folder, OWN, url, user_class, show, cpus)
    assert (record.status, record.folder) == (FAILED, "blank")
    assert str(record.reason).endswith("; without the blank the client's part is not known: see to that and run again")
    assert BlankRecord.from_json(json.loads(json.dumps(record.to_json()))) == record
    return str(record.reason)


def test_who_gives_no_answer_gives_no_blank(tmp_path: Path) -> None:
    before = children()
    nobody = f"http://127.0.0.1:{free_port()}"
    assert why_failed(tmp_path, nobody).startswith(f"{nobody} did not answer a text ([Errno ")
    cut_off = b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nab"
    with server(cut_off, b"", b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n") as url:
        assert why_failed(tmp_path, url).startswith(f"{url} did not answer a text (IncompleteRead")
        assert why_failed(tmp_path, url).startswith(f"{url} did not answer a text (Remote end closed")
        assert why_failed(tmp_path, url).startswith(
            f"{url} did not answer a text as it should: it answers POST /infer with status 503 Busy: "
        )
    assert children() <= before


def test_a_locust_that_does_not_run_gives_no_blank(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = children()
    with server(FRAMED, FRAMED, FRAMED, FRAMED) as url:
        reason = why_failed(tmp_path, url, user_class="no_such_class")
        assert reason.startswith("Locust ended with exit code 1: Could not find ")
        assert f"all it said is in {tmp_path / 'blank' / 'load.log'}; " in reason
        assert "preexec_fn" in why_failed(tmp_path, url, cpus="4000")
        monkeypatch.setattr(blank, "LONGEST_RUN_S", 0.5)
        assert why_failed(tmp_path, url).startswith("Locust did not end in 0.5 s; its log is ")
        (tmp_path / "blank" / "load.log").unlink()
        (tmp_path / "blank" / "load.log").mkdir()
        assert "load.log: Is a directory; fix that and run again" in why_failed(tmp_path, url)
    assert children() <= before


def test_an_answer_that_is_a_failure_to_the_users_gives_no_blank(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(blank, "fetch_answer", lambda *_: b"HTTP/1.1 500 Oh\r\nContent-Length: 0\r\n\r\n")
    assert " requests failed; Locust's log is " in why_failed(tmp_path, "http://127.0.0.1:1")


def test_ctrl_c_passes_and_everything_has_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = children()

    def interrupt_the_run() -> None:
        if until_true((tmp_path / "blank" / "load_requests.csv").exists, 30):
            os.kill(os.getpid(), signal.SIGINT)

    def interrupt(text: str) -> None:
        if "one user" in text:
            threading.Thread(target=interrupt_the_run).start()

    with server(FRAMED) as url, pytest.raises(KeyboardInterrupt):
        measure_blank(tmp_path, OWN, url, "keep_alive", interrupt, None)
    assert children() <= before


@pytest.mark.parametrize("user_class", ["keep_alive", "new_connection"])
def test_the_blank_of_a_real_service(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, user_class: str) -> None:
    """The service is idle meanwhile: what is measured is the load generator."""
    monkeypatch.setattr(host, "STATE", tmp_path / "host.json")
    last = str(max(os.sched_getaffinity(0))) if hasattr(os, "sched_getaffinity") else None
    before = children()
    with deployed("host", Settings(ports={"host": free_port()}), tmp_path / "service") as running:
        began = time.monotonic()
        record = measure_blank(tmp_path, OWN, running.url, user_class, show, last)
        took_s = time.monotonic() - began
        answered = (tmp_path / "service" / "live" / "system_inference_metrics.csv").read_bytes().count(b"\n") - 1
    assert running.service.gone()
    assert record == BlankRecord(status=STATUS_MEASURED, folder="blank", answer_bytes=record.answer_bytes)
    assert answered == 1
    assert children() <= before
    assert took_s < 45  # Locust's start and 2 s, on whatever machine
    own = tmp_path / "blank"
    assert {path.name for path in own.iterdir()} >= FILES
    assert record.answer_bytes == (own / "answer.http").stat().st_size
    check_run(own)


def check_run(own: Path) -> None:
    """The run is whole, of one user, and says of no service that it was measured."""
    run = RunRecord.read(own / "load_run.json")
    assert run.ended_at_unix_s is not None
    assert (run.failures, run.faults, run.service) == (0, (), None)
    assert (run.warm_up_s, run.run_time_s) == (0.5, 2)
    assert not rows(own / "load_replica_stats.csv")
    requests = rows(own / "load_requests.csv")
    assert len(requests) == run.requests
    assert {row["status"] for row in requests} == {"200"}
    measured = [row for row in requests if row["phase"] == "measured"]
    assert len(measured) > 10  # other tests run at the same time
    middle_ms = statistics.median(float(row["response_time_ms"]) for row in measured)
    print(f"{len(measured)} requests, median {middle_ms:.3f} ms")
    assert 0.01 < middle_ms < 150
