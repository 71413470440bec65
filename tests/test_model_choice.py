"""Which model ``INFERENCE_MODEL`` means. A hub of our own speaks the protocol of the real hub."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from conftest import ROOT

from inference.model_choice import BUNDLED_MODEL, DEFAULT_MODEL, weights_sha256

COMMIT = "0123456789abcdef0123456789abcdef01234567"
FILES = sorted(path.name for path in BUNDLED_MODEL.iterdir())


class Hub(BaseHTTPRequestHandler):
    """Knows the default model, with the files of the bundled model, and records what is fetched."""

    protocol_version = "HTTP/1.1"
    fetched: list[str] = []

    def do_GET(self) -> None:
        self._answer(with_body=True)

    def do_HEAD(self) -> None:
        self._answer(with_body=False)

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def _answer(self, *, with_body: bool) -> None:
        path = self.path.partition("?")[0]
        name = path.rsplit("/", 1)[-1]
        if path.startswith(f"/api/models/{DEFAULT_MODEL}"):
            said = {"id": DEFAULT_MODEL, "modelId": DEFAULT_MODEL, "sha": COMMIT, "private": False}
            if "/tree/" in path:
                body = json.dumps(
                    [{"type": "file", "path": file, "size": 1, "oid": "0" * 40} for file in FILES]
                ).encode()
            else:
                body = json.dumps(said | {"siblings": [{"rfilename": file} for file in FILES]}).encode()
            self._send(200, body, {"Content-Type": "application/json"}, with_body)
        elif path.startswith(f"/{DEFAULT_MODEL}/resolve/") and name in FILES:
            body = (BUNDLED_MODEL / name).read_bytes()
            if with_body:
                self.fetched.append(name)
            etag = hashlib.sha256(body).hexdigest()
            self._send(200, body, {"ETag": f'"{etag}"', "X-Repo-Commit": COMMIT}, with_body)
        else:
            self._send(404, b"", {"X-Error-Code": "RepoNotFound"}, with_body)

    def _send(self, status: int, body: bytes, headers: dict[str, str], with_body: bool) -> None:
        self.send_response(status)
        for name, value in ({"Content-Length": str(len(body))} | headers).items():
            self.send_header(name, value)
        self.end_headers()
        if with_body:
            self.wfile.write(body)


@pytest.fixture
def hub() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    Hub.fetched.clear()
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def fetch(cache: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    own = {key: value for key, value in os.environ.items() if not key.startswith(("HF_", "INFERENCE_"))}
    command = [sys.executable, "-m", "inference.fetch"]
    environment = own | {"HF_HOME": str(cache), "HF_HUB_DISABLE_XET": "1"} | environment
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False, timeout=60)


def test_auto_downloads_the_default_model_once(hub: str, tmp_path: Path) -> None:
    done = fetch(tmp_path, HF_ENDPOINT=hub)
    said = json.loads(done.stdout)
    assert (said["name"], said["source"]) == (DEFAULT_MODEL, "hub"), done.stderr
    assert said["sha256"] == weights_sha256(BUNDLED_MODEL)
    assert "model.safetensors" in Hub.fetched
    Hub.fetched.clear()
    again = fetch(tmp_path, HF_ENDPOINT="http://127.0.0.1:9")
    assert json.loads(again.stdout)["source"] == "hub"
    assert "warning" not in again.stderr
    assert not Hub.fetched


def test_a_hub_that_never_answers_costs_three_seconds(tmp_path: Path) -> None:
    silent = ThreadingHTTPServer(("127.0.0.1", 0), Hub)  # accepts, and is never asked to serve
    began = time.monotonic()
    try:
        done = fetch(tmp_path, HF_ENDPOINT=f"http://127.0.0.1:{silent.server_address[1]}")
    finally:
        silent.server_close()
    assert json.loads(done.stdout)["source"] == "bundled"
    assert done.stderr.count("warning") == 1
    assert time.monotonic() - began < 30  # without the limit it would be minutes


def test_a_named_model_is_never_replaced(hub: str, tmp_path: Path) -> None:
    done = fetch(tmp_path, HF_ENDPOINT=hub, INFERENCE_MODEL="someone/else")
    assert done.returncode == 1
    assert done.stderr.startswith("error: INFERENCE_MODEL=someone/else is not cached and can't be downloaded")
    assert "Traceback" not in done.stderr


def test_a_name_that_can_be_none_is_explained(tmp_path: Path) -> None:
    done = fetch(tmp_path, HF_HUB_OFFLINE="1", INFERENCE_MODEL="not a name!")
    assert done.returncode == 1
    assert "is neither a folder here nor a name the hub can have" in done.stderr
