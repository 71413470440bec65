"""An engine in a virtual machine, as with Docker Desktop and Colima: what is recorded, and what doctor says."""

from __future__ import annotations

import json
import os
import shutil
import socket
import socketserver
import tempfile
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest
from conftest import free_port
from test_infra import infra, said_by

from infra.deployments.docker_engine import connect
from runfiles.machines import DockerEngine, this_machine

OTHER_CPUS = (os.cpu_count() or 1) + 6
INFO = {
    "ServerVersion": "27.3.1",
    "Name": "docker-desktop",
    "KernelVersion": "6.10.14-linuxkit",
    "NCPU": OTHER_CPUS,
    "MemTotal": 1_000_000_000,
    "Architecture": "aarch64",
    "OperatingSystem": "Docker Desktop",
    "Swarm": {"LocalNodeState": "inactive"},
}
NO_VERDICT = (
    f"host process against containers gets no verdict: the engine runs in a virtual machine with {OTHER_CPUS} of "
    f"{os.cpu_count()} CPUs; containers are still compared with each other"
)


class Api(BaseHTTPRequestHandler):
    """The few parts of Docker's API that these tests need."""

    answers: dict[str, Any] = {"version": {"ApiVersion": "1.45"}, "info": INFO, "containers/json": []}

    def do_GET(self) -> None:
        path = self.path.partition("?")[0].lstrip("/").removeprefix("v1.45/")
        self.answer(self.answers.get(path))

    def do_POST(self) -> None:
        self.answer(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))  # volumes/create

    def answer(self, content: object) -> None:
        body = json.dumps({"message": "it is not there"} if content is None else content).encode()
        self.send_response(404 if content is None else 200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def address_string(self) -> str:
        return "a Unix socket"

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def desktop(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    folder = Path(tempfile.mkdtemp())  # short enough for a socket's path
    address = f"unix://{folder / 'docker.sock'}"
    monkeypatch.setenv("DOCKER_HOST", address)
    with socketserver.ThreadingUnixStreamServer(str(folder / "docker.sock"), Api) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever).start()
        try:
            yield address
        finally:
            server.shutdown()
    shutil.rmtree(folder)


def test_the_record_holds_the_engines_own_machine(desktop: str) -> None:
    engine = connect()
    assert engine.record() == DockerEngine(
        endpoint=desktop,
        version="27.3.1",
        node="docker-desktop",
        kernel="6.10.14-linuxkit",
        cpu_count=OTHER_CPUS,
        memory_bytes=1_000_000_000,
        architecture="aarch64",
        operating_system="Docker Desktop",
    )
    assert not engine.is_remote  # its published ports are this machine's
    engine.client.close()


def test_what_an_engine_does_not_say_of_its_machine_is_missing(desktop: str, monkeypatch: pytest.MonkeyPatch) -> None:
    said_nothing = dict(INFO, NCPU=0, MemTotal=0, KernelVersion=this_machine().kernel)
    del said_nothing["Architecture"]
    monkeypatch.setitem(Api.answers, "info", said_nothing)
    engine = connect()
    known = engine.record()
    assert (known.cpu_count, known.memory_bytes, known.architecture) == (None, None, None)
    assert engine.elsewhere() is None
    assert engine.why_no_verdict() is None
    engine.client.close()


def test_doctor_says_beforehand_what_is_not_compared_and_what_does_not_fit(desktop: str) -> None:
    said = said_by(infra("doctor", "--port", f"docker={free_port()}", DOCKER_HOST=desktop))
    assert f"verdicts            {NO_VERDICT}\n" in said
    too_little = "too little memory: 3 replicas need 1.6 GB, the engine's machine has 1.0 GB in all"
    assert f"swarm-3             Swarm, 3 replicas: can't run: {too_little}" in said
    assert "docker              docker run: can run" in said


def test_the_experiment_says_it_too_and_records_it(desktop: str, tmp_path: Path) -> None:
    with socket.socket() as holder:  # so that nothing is measured
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        run = infra(
            *("run", "--only", "host,docker", "--image", "127.0.0.1:1/x", "--results", str(tmp_path)),
            *("--port", f"host={holder.getsockname()[1]}", "--port", f"docker={free_port()}"),
            DOCKER_HOST=desktop,
        )
        said = said_by(run)
    assert run.returncode == 1
    assert NO_VERDICT in " ".join(said.split())
    (path,) = tmp_path.glob("*/experiment.json")
    assert json.loads(path.read_text())["engine"]["cpu_count"] == OTHER_CPUS
