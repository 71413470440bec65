"""The service as a process, with the real bundled model, over real HTTP."""

from __future__ import annotations

import csv
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
import requests
from conftest import ROOT, Service, free_port, start_service, stop, wait_for
from test_http import start_changed

from inference.model_choice import weights_sha256

TEXT = {"text": "This movie was fantastic!"}
GOOD_AND_BAD = ("This movie was fantastic!", "The food was awful.", "Not bad at all, and the waiter was kind.")


def ask(service: Service, text: str, connection: http.client.HTTPConnection | None = None) -> http.client.HTTPResponse:
    """Ask over ``connection``, or over a new one that the server closes after its answer."""
    headers = {"Content-Type": "application/json"} | ({} if connection else {"Connection": "close"})
    connection = connection or http.client.HTTPConnection("127.0.0.1", service.port, timeout=30)
    connection.request("POST", "/infer", json.dumps({"text": text}), headers)
    return connection.getresponse()


def test_the_model_tells_praise_from_complaint(shared_service: Service) -> None:
    for text, sentiment in [("This movie was fantastic!", b"POSITIVE"), ("The food was awful.", b"NEGATIVE")]:
        with ask(shared_service, text) as answer:
            assert answer.status == 200
            assert sentiment in answer.read()


def test_health_says_which_model_answers(shared_service: Service) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", shared_service.port)
    connection.request("GET", "/health")
    said = json.loads(connection.getresponse().read())
    assert said["model"]["sha256"] == weights_sha256(ROOT / "inference" / "bundled_model")
    assert said["replica"] == "test-replica"
    assert said["pid"] == shared_service.process.pid
    assert said["engine"]["name"] == "onnx"
    assert said["engine"]["why_not_faster"] is None
    assert said["engine"]["agreement"]["harder"]["texts"] == 2000
    connection.close()


def test_a_connection_serves_many_requests(shared_service: Service) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", shared_service.port)
    sockets = set()
    for _ in range(20):
        with ask(shared_service, "again", connection) as answer:
            assert answer.read()
        sockets.add(connection.sock.getsockname())
    assert len(sockets) == 1
    connection.close()


def test_an_answer_comes_in_one_piece(shared_service: Service) -> None:
    """A second write would cost a system call and wake the client a second time."""
    body = b'{"text": "fine"}'
    head = f"POST /infer HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    with socket.create_connection(("127.0.0.1", shared_service.port), timeout=30) as client:
        for _ in range(5):
            client.sendall(head.encode() + body)
            head_sent, row = client.recv(65536).split(b"\r\n\r\n")
            assert f"content-length: {len(row)}".encode() in head_sent


def test_a_long_text_is_cut_and_answered(shared_service: Service) -> None:
    with ask(shared_service, "word " * 3000) as answer:
        assert answer.status == 200
        assert answer.headers["X-Truncated"] == "only the first 512 tokens were read"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_requests_in_flight_are_answered_when_it_is_stopped(tmp_path: Path, number: signal.Signals) -> None:
    service = wait_for(start_service(tmp_path))
    statuses: list[int] = []
    asked = threading.Barrier(13)

    def ask_and_wait() -> None:
        connection = http.client.HTTPConnection("127.0.0.1", service.port, timeout=30)
        body = json.dumps({"text": "a long text " * 2000})
        connection.request("POST", "/infer", body, {"Content-Type": "application/json"})
        asked.wait()
        statuses.append(connection.getresponse().status)
        connection.close()

    threads = [threading.Thread(target=ask_and_wait) for _ in range(12)]
    for thread in threads:
        thread.start()
    asked.wait()
    until = time.monotonic() + 10
    while service.metrics.read_bytes().count(b"\n") < 2 and time.monotonic() < until:
        pass  # the first has been answered: the others are inside
    service.process.send_signal(number)
    for thread in threads:
        thread.join(30)
    assert service.process.wait(30) == 0
    assert statuses == [200] * 12
    with service.metrics.open(newline="") as file:
        assert len(list(csv.reader(file))) == 13


def test_concurrent_requests_leave_whole_rows(own_service: Service) -> None:
    def some(thread: int) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", own_service.port, timeout=30)
        for number in range(25):
            with ask(own_service, f'thread {thread}, "request"\n{number}', connection) as answer:
                answer.read()
        connection.close()

    threads = [threading.Thread(target=some, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    stop(own_service)
    with own_service.metrics.open(newline="") as file:
        texts = [row["Input Text"] for row in csv.DictReader(file)]
    assert sorted(texts) == sorted(f'thread {t}, "request"\n{n}' for t in range(8) for n in range(25))


def test_a_stop_costs_clients_that_keep_their_connections_no_request(own_service: Service) -> None:
    """Each is answered until it is told to close, as when a replica among others is replaced."""
    answers: list[list[str]] = [[] for _ in range(4)]
    stopping = threading.Event()

    def client(said: list[str]) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", own_service.port, timeout=30)
        while not said or said[-1] != "close":
            connection.request("POST", "/infer", '{"text": "fine"}', {"Content-Type": "application/json"})
            answer = connection.getresponse()
            answer.read()
            assert answer.status == 200
            said.append(answer.headers.get("Connection", "kept"))
            if len(said) >= 20 and all(answers):
                stopping.set()
        connection.close()

    threads = [threading.Thread(target=client, args=(said,)) for said in answers]
    for thread in threads:
        thread.start()
    assert stopping.wait(30)
    stop(own_service)
    for thread in threads:
        thread.join()
    assert own_service.process.returncode == 0
    assert [said[-1] for said in answers] == ["close"] * 4
    assert all("kept" in said for said in answers)


def test_a_second_signal_stops_at_once(tmp_path: Path) -> None:
    """Draining would take a minute, since the client keeps reconnecting."""
    service = wait_for(start_changed(tmp_path, DRAIN_S=60.0, QUIET_S=5.0))
    gone = threading.Event()

    def client() -> None:
        while not gone.is_set():
            try:
                requests.post(f"{service.url}/infer", json={"text": "fine"}, timeout=30)
            except requests.ConnectionError:
                return

    thread = threading.Thread(target=client)
    thread.start()
    try:
        service.process.terminate()
        with pytest.raises(subprocess.TimeoutExpired):
            service.process.wait(1)
        service.process.terminate()
        assert service.process.wait(30) == 0  # before the minute of draining is over
    finally:
        stop(service)
        gone.set()
        thread.join()


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({"HOST": "no.such.host.invalid"}, "HOST=no.such.host.invalid is not an address"),
        ({"PORT": "none"}, "PORT=none is not a port"),
        ({"INFERENCE_ENGINE": "fast"}, "INFERENCE_ENGINE=fast is none of auto, onnx, torch"),
        ({"INFERENCE_DEVICE": "tpu"}, "INFERENCE_DEVICE=tpu is none of auto, cpu, cuda"),
        ({"INFERENCE_DEVICE": "cuda", "INFERENCE_ENGINE": "onnx"}, "the ONNX engine computes on the processor"),
        ({"INFERENCE_QUEUE": "0"}, "INFERENCE_QUEUE=0 is not a number of texts that may wait"),
        ({"REPLICA_NAME": "réplique"}, "goes into a header; expected printable ASCII characters"),
        ({"METRICS_LOG_FILE": "/nowhere/metrics.csv"}, "METRICS_LOG_FILE=/nowhere/metrics.csv can't be written"),
        ({"METRICS_LOG_FILE": "/dev/full"}, "METRICS_LOG_FILE=/dev/full can't be written (it is a character device)"),
        (
            {"METRICS_LOG_FILE": str(ROOT / "README.md")},
            "can't be written (it is no metrics file: its first line is not Inference Latency (ms),Prediction,"
            "Input Text,Timestamp); name another file, or move this one away",
        ),
        ({"METRICS_LOG_FILE": str(ROOT)}, "can't be written (Is a directory); name a file in a writable folder"),
        ({"INFERENCE_MODEL": "./no-such-folder"}, "there is no such folder"),
        ({"INFERENCE_MODEL": f"./{'x' * 300}"}, "there is no such folder"),
        ({"INFERENCE_ENGINE": "onnx", "XDG_CACHE_HOME": "x" * 300}, "the exported model can't be kept in xxx"),
        ({"INFERENCE_MODEL": str(ROOT / "tests")}, "a folder without config.json"),
        ({"INFERENCE_MODEL": "no-one/no-such-model", "HF_HUB_OFFLINE": "1"}, "is not cached and can't be downloaded"),
    ],
)
def test_what_a_user_can_get_wrong_is_one_line(tmp_path: Path, environment: dict[str, str], expected: str) -> None:
    service = start_service(tmp_path, **environment)
    assert service.process.wait(60) == 1
    said = service.log.read_text()
    assert expected in said
    assert said.startswith("error: ")
    assert "Traceback" not in said


def test_what_is_left_of_a_refused_body_is_no_next_request(shared_service: Service) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", shared_service.port, timeout=30)
    inner = b"POST /infer HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n"
    with closing(connection):
        for _ in range(2):
            connection.request("POST", "/health", iter([inner]), {"Transfer-Encoding": "chunked"}, encode_chunked=True)
            answer = connection.getresponse()
            answer.read()
            assert answer.status == 405
        assert ask(shared_service, TEXT["text"], connection).status == 200


def test_a_body_in_chunks_is_read(shared_service: Service) -> None:
    parts = iter([b'{"text": "This movie ', b'was fantastic!"}'])
    answer = requests.post(
        f"{shared_service.url}/infer", data=parts, headers={"Content-Type": "application/json"}, timeout=30
    )
    assert answer.status_code == 200
    assert "This movie was fantastic!" in answer.text


@pytest.mark.parametrize("content_type", ["application/json", "text/plain"])
def test_a_huge_body_is_refused_unread(shared_service: Service, content_type: str) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", shared_service.port, timeout=30)
    with closing(connection):
        connection.putrequest("POST", "/infer")
        connection.putheader("Content-Type", content_type)
        connection.putheader("Content-Length", str(5 * 10**9))
        connection.endheaders()
        assert connection.getresponse().status == 413


def test_a_port_that_is_taken_is_named(shared_service: Service, tmp_path: Path) -> None:
    service = start_service(tmp_path, PORT=str(shared_service.port))
    assert service.process.wait(60) == 1
    said = service.log.read_text()
    assert f"127.0.0.1:{shared_service.port} can't be listened on" in said
    assert "; end what listens there, or set HOST or PORT\n" in said
    assert "serving" not in said


def test_an_address_that_this_machine_does_not_have_is_told(tmp_path: Path) -> None:
    service = start_service(tmp_path, HOST="192.0.2.1")
    assert service.process.wait(60) == 1
    (said,) = service.log.read_text().splitlines()
    assert said.startswith(f"error: 192.0.2.1:{service.port} can't be listened on ([Errno ")
    assert said.endswith(
        "; 192.0.2.1 is no address of this machine: set HOST to one that is, or to 0.0.0.0 for all of them"
    )


@pytest.mark.parametrize("host", ["::1", "[::1]"])
def test_an_ipv6_address_is_listened_on_and_said_as_in_a_url(tmp_path: Path, host: str) -> None:
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError as error:
        pytest.skip(f"no IPv6 here: {error}")
    service = start_service(tmp_path, HOST=host)
    url = f"http://[::1]:{service.port}"
    try:
        wait_for(replace(service, url=url))
        assert f"at {url}, metrics" in service.log.read_text()
    finally:
        stop(service)


def test_auto_takes_the_bundled_model_with_one_warning_in_a_closed_network(tmp_path: Path) -> None:
    environment = {"INFERENCE_MODEL": "auto", "HF_HOME": str(tmp_path / "cache")}
    environment["HF_ENDPOINT"] = f"http://127.0.0.1:{free_port()}"  # nobody listens there
    service = wait_for(start_service(tmp_path, **environment))
    try:
        log = service.log.read_text()
        assert log.count("warning") == 1
        assert "the small bundled model answers instead" in log
    finally:
        stop(service)


def test_fetch_copies_the_model_and_where_it_came_from(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "inference.fetch", str(tmp_path / "model")]
    environment = {"HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path), "PATH": "/usr/bin"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout)["source"] == "bundled"
    service = wait_for(start_service(tmp_path, INFERENCE_MODEL=str(tmp_path / "model")))
    try:
        assert "serving bundled (onnx) at" in service.log.read_text()
    finally:
        stop(service)


def test_what_the_queue_can_not_hold_is_refused_at_once(tmp_path: Path) -> None:
    service = wait_for(start_service(tmp_path, INFERENCE_QUEUE="3"))
    answers: list[http.client.HTTPResponse] = []
    ready = threading.Barrier(40)

    def ask_at_once() -> None:
        ready.wait()
        with ask(service, "a long text " * 2000) as answer:
            answer.read()
            answers.append(answer)

    threads = [threading.Thread(target=ask_at_once) for _ in range(40)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    try:
        assert {answer.status for answer in answers} == {200, 503}
        assert {answer.headers["Retry-After"] for answer in answers if answer.status == 503} == {"1"}
        assert ask(service, "and then it is as before").status == 200
    finally:
        stop(service)


def test_a_text_whose_client_has_gone_is_not_computed(tmp_path: Path) -> None:
    service = wait_for(start_service(tmp_path, INFERENCE_ENGINE="torch"))
    body = json.dumps({"text": "a long text " * 2000})
    try:
        for _ in range(40):
            connection = http.client.HTTPConnection("127.0.0.1", service.port)
            connection.request("POST", "/infer", body, {"Content-Type": "application/json"})
            connection.close()
        with ask(service, "the one that is waited for") as answer:
            assert answer.status == 200
        said = requests.get(f"{service.url}/metrics", timeout=30).text
        abandoned = float(
            next(line for line in said.splitlines() if line.startswith("inference_abandoned_total")).split()[1]
        )
        assert abandoned >= 1
    finally:
        stop(service)
    with service.metrics.open(newline="") as file:
        assert len(list(csv.DictReader(file))) == 41 - abandoned


def test_the_fast_engine_serves_without_torch(tmp_path: Path) -> None:
    """As in the image: packages that are not installed there can't be imported here either."""
    absent = tmp_path / "absent"
    for name in ("torch", "transformers", "onnx", "safetensors", "huggingface_hub"):
        (absent / name).mkdir(parents=True)
        (absent / name / "__init__.py").write_text("raise ImportError('not in the image')")
    stop(wait_for(start_service(tmp_path)))  # exported, if it was not
    service = wait_for(start_service(tmp_path, PYTHONPATH=str(absent)))
    try:
        assert requests.get(f"{service.url}/health", timeout=30).json()["engine"]["name"] == "onnx"
    finally:
        stop(service)


def test_the_inference_engine_writes_no_reports_to_the_users_cache(tmp_path: Path) -> None:
    """ONNX Runtime writes none either where it finds that it runs in CI."""
    of_ci = {"CI", "GITHUB_ACTIONS", "TF_BUILD", "JENKINS_URL", "TRAVIS", "ORT_RUNNING_UNIT_TESTS"}
    environment = {name: value for name, value in os.environ.items() if name not in of_ci}
    environment |= {"XDG_CACHE_HOME": str(tmp_path / "cache"), "ORT_DISABLE_TELEMETRY": "0"}
    code = "import inference.engines.onnx_engine, onnxruntime; onnxruntime.SessionOptions()"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout + done.stderr) == (0, "")
    assert list(tmp_path.rglob("*")) == []


def test_both_engines_say_the_same(tmp_path: Path, shared_service: Service) -> None:
    service = wait_for(start_service(tmp_path, INFERENCE_ENGINE="torch"))
    try:
        for text in (*GOOD_AND_BAD, "word " * 3000):
            by_torch, by_onnx = (
                requests.post(
                    f"{url}/infer", json={"text": text}, headers={"Accept": "application/json"}, timeout=30
                ).json()
                for url in (service.url, shared_service.url)
            )
            assert by_torch["sentiment"] == by_onnx["sentiment"]
            assert by_torch["score"] == pytest.approx(by_onnx["score"], abs=0.02)
            assert by_torch["truncated"] == by_onnx["truncated"]
        assert requests.get(f"{service.url}/health", timeout=30).json()["engine"]["name"] == "torch"
    finally:
        stop(service)


def test_an_interrupt_while_it_starts_is_no_traceback(tmp_path: Path) -> None:
    """Tried three times: on a busy machine it may have started before it is interrupted."""
    for number in range(3):
        folder = tmp_path / str(number)
        folder.mkdir()
        service = start_service(folder)
        until = time.monotonic() + 30
        while not service.metrics.exists() and time.monotonic() < until:
            time.sleep(0.005)  # the model comes next
        service.process.send_signal(signal.SIGINT)
        code = service.process.wait(30)
        assert "Traceback" not in service.log.read_text()
        if "serving" not in service.log.read_text():
            break
    assert code == 130
