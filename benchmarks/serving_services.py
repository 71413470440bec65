"""The services that are measured: how each is started, when it answers, how much memory it uses."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from infra.environment import for_service

ROOT = Path(__file__).resolve().parents[1]
USUAL, OWN, REFERENCE = "usual app", "fourfold (onnx)", "fourfold (torch)"
LITSERVE, MOSEC, MOSEC_OWN = "LitServe", "Mosec", "Mosec on our engine"
ALL = (USUAL, OWN, REFERENCE, LITSERVE, MOSEC, MOSEC_OWN)

START_TIMEOUT_S = 120
SETTLE_TIMEOUT_S = 20


@dataclass(frozen=True)
class Running:
    """A service that has answered a text. ``seconds_to_healthy`` counts from its start to that answer."""

    name: str
    port: int
    path: str
    process: subprocess.Popen[bytes]
    seconds_to_healthy: float

    def memory_bytes(self) -> int:
        """The memory of all its processes. Shared memory is counted once (PSS) where the system reports it."""
        import psutil

        own = psutil.Process(self.process.pid)
        infos = [process.memory_full_info() for process in [own, *own.children(recursive=True)]]
        return sum(getattr(info, "pss", info.rss) for info in infos)

    def halt(self) -> None:
        """Stop all its processes: a service that polls while it waits would slow the service that is measured."""
        os.killpg(self.process.pid, signal.SIGSTOP)

    def go_on(self) -> None:
        os.killpg(self.process.pid, signal.SIGCONT)

    def settle(self) -> None:
        """Wait until it is idle: work left over from this load would slow the next load."""
        until = time.monotonic() + SETTLE_TIMEOUT_S
        while time.monotonic() < until:
            before = self._cpu_s()
            time.sleep(0.25)
            if self._cpu_s() - before < 0.1 * 0.25:
                return

    def _cpu_s(self) -> float:
        import psutil

        own = psutil.Process(self.process.pid)
        times = [process.cpu_times() for process in [own, *own.children(recursive=True)]]
        return sum(spent.user + spent.system for spent in times)

    def answer(self, text: str) -> dict[str, object]:
        """Its answer to a text, as JSON."""
        return ask(self.port, self.path, text)


@contextmanager
def running(name: str, model: Path, folder: Path) -> Iterator[Running]:
    """Start a service, wait until it answers, and end it."""
    port = _free_port()
    command, path, environment = _how(name, model, folder, port)
    began = time.monotonic()
    with (folder / f"{name}.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, *command],
            cwd=ROOT,
            env=for_service() | environment,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        _wait(name, process, port, path, folder, began)
        yield Running(name, port, path, process, time.monotonic() - began)
    finally:
        os.killpg(process.pid, signal.SIGCONT)
        os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(15)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def ask(port: int, path: str, text: str) -> dict[str, object]:
    """A service's answer to a text, as JSON.

    Raises:
        OSError: it does not answer.
        ValueError: it answers with anything but 200 and JSON.
    """
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        headers = {"Content-Type": "application/json", "Accept": "application/json"}
        connection.request("POST", path, json.dumps({"text": text}), headers)
        answer = connection.getresponse()
        content = answer.read()
        if answer.status != 200:
            raise ValueError(f"status {answer.status}: {content[:200]!r}")
        return dict(json.loads(content))
    except http.client.HTTPException as error:
        raise OSError(str(error)) from error
    finally:
        connection.close()


def _how(name: str, model: Path, folder: Path, port: int) -> tuple[list[str], str, dict[str, str]]:
    served = "benchmarks.served"
    rows = str(folder / f"{name}.csv")
    if name == USUAL:
        return ["-m", f"{served}.usual_app", str(model), str(port), rows], "/infer", {}
    if name == LITSERVE:
        return ["-m", f"{served}.litserve_app", str(model), str(port)], "/predict", {}
    if name in (MOSEC, MOSEC_OWN):
        engine = "onnx" if name == MOSEC_OWN else "torch"
        options = ["--port", str(port), "--timeout", "30000", "--log-level", "warning"]
        return ["-m", f"{served}.mosec_app", str(model), engine, *options], "/inference", {}
    environment = {
        "HOST": "127.0.0.1",
        "PORT": str(port),
        "METRICS_LOG_FILE": rows,
        "INFERENCE_MODEL": str(model),
        "INFERENCE_ENGINE": "onnx" if name == OWN else "torch",
        "INFERENCE_DEVICE": "cpu",
    }
    return ["-m", "inference"], "/infer", environment


def _wait(name: str, process: subprocess.Popen[bytes], port: int, path: str, folder: Path, began: float) -> None:
    while True:
        try:
            ask(port, path, "A first text.")
            return
        except (OSError, ValueError) as error:
            said = (folder / f"{name}.log").read_text(errors="replace")[-1500:]
            if process.poll() is not None:
                raise SystemExit(f"error: {name} ended with exit code {process.returncode}:\n{said}") from None
            if time.monotonic() - began > START_TIMEOUT_S:
                raise SystemExit(
                    f"error: {name} does not answer after {START_TIMEOUT_S} s ({error}):\n{said}"
                ) from None
        time.sleep(0.02)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
