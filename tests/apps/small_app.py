"""A small service for tests, as somebody else would write it. MODE says what is wrong with it."""

from __future__ import annotations

import contextlib
import json
import os
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

MODE = os.environ.get("MODE", "right")
PORT = int(os.environ.get("PORT", "5000"))
ADDRESS = "127.0.0.1" if MODE == "loopback" else "0.0.0.0"

ANSWERS = {
    "not found": (404, "text/plain", b"no such page\n"),
    "needs a login": (401, "application/json", b'{"error": "who are you?"}'),
    "page": (200, "text/html; charset=utf-8", b"<!doctype html><title>Welcome</title>"),
    "late error": (500, "text/plain", b"the model is broken\n"),
    "redirects": (302, "text/plain", b""),
    "other method": (405, "text/plain", b"not so\n"),
}


AT_WORK = threading.Lock()


class Answers(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # head and body are two packets

    def do_GET(self) -> None:
        self._answer({"text": self.path})

    def do_POST(self) -> None:
        said = self.rfile.read(int(self.headers["Content-Length"]))
        self._answer(json.loads(said))

    def _answer(self, asked: dict[str, str]) -> None:
        if MODE == "late error":
            time.sleep(10)
        if MODE == "one at a time":
            with AT_WORK:
                time.sleep(0.015)
        right = json.dumps({"label": "positive", "length": len(asked["text"])}).encode()
        status, kind, body = ANSWERS.get(MODE, (200, "application/json", right))
        if name := os.environ.get("METRICS_LOG_FILE"):
            with Path(name).open("a", encoding="utf-8") as file:
                file.write(f"{time.time()},{status}\n")
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        if status == 302:
            self.send_header("Location", "/elsewhere")
        if status == 405:
            self.send_header("Allow", "PUT")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


if MODE == "dies":
    sys.exit("ModuleNotFoundError: No module named 'flask'")


def listen() -> ThreadingHTTPServer:
    """At the port that was asked for; "other port": at the next one that is free."""
    if MODE != "other port":
        return ThreadingHTTPServer((ADDRESS, PORT), Answers)
    for port in range(PORT + 1, PORT + 100):
        with contextlib.suppress(OSError):
            return ThreadingHTTPServer((ADDRESS, port), Answers)
    sys.exit(f"no port is free after {PORT}")


server = listen()
print(f"listening on {ADDRESS}:{server.server_port}", flush=True)
server.serve_forever()
