"""A service for loads: answers at once with its own name. ``python named_service.py NAME PORT [PAUSE_S]``.

``kill -USR1`` makes it hang: from then on it answers nothing. Its connections stay open between requests.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

CSV = b"Inference Latency (ms),Prediction,Input Text,Timestamp\n1.00,POSITIVE,x,2026-01-31T12:00:00\n"


def main(name: str, port: int, pause_s: float) -> None:
    hangs = threading.Event()
    signal.signal(signal.SIGUSR1, lambda *_: hangs.set())

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def do_GET(self) -> None:
            self._answer(json.dumps({"status": "ok", "replica": name, "pid": os.getpid()}).encode())

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            time.sleep(pause_s)
            if hangs.is_set():
                time.sleep(600)
            self._answer(CSV)

        def _answer(self, body: bytes) -> None:
            self.send_response(200)
            self.send_header("X-Replica", name)
            self.send_header("Server-Timing", "queue;dur=0.5, inference;dur=1.5")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    class Server(ThreadingHTTPServer):
        daemon_threads = True
        request_queue_size = 50

    Server(("127.0.0.1", port), Handler).serve_forever(poll_interval=0.1)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), float(sys.argv[3]) if len(sys.argv) > 3 else 0.0)
