"""A service that is not ours: it sends the bytes that a test gives it, each answer on a connection of its own."""

from __future__ import annotations

import socketserver
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

CSV = b"Inference Latency (ms),Prediction,Input Text,Timestamp\n1.00,POSITIVE,x,2026-01-31T12:00:00\n"


def answer(*headers: str, body: bytes = CSV, status: str = "200 OK") -> bytes:
    """A whole HTTP answer with these header lines."""
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", "Connection: close", *headers]
    return "\r\n".join(lines).encode("utf-8") + b"\r\n\r\n" + body


@contextmanager
def foreign_service(choose: Callable[[str], bytes], pause_s: float = 0.0) -> Iterator[str]:
    """Its URL. ``choose`` takes the path of a request and gives the answer, which is sent after ``pause_s``."""

    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            try:
                path = self.rfile.readline().decode("latin-1").split(" ")[1]
                size = 0
                while (line := self.rfile.readline().strip().lower()) != b"":
                    if line.startswith(b"content-length:"):
                        size = int(line.partition(b":")[2])
                self.rfile.read(size)
                time.sleep(pause_s)
                self.wfile.write(choose(path))
            except (OSError, IndexError):  # the client has gone
                pass

    class Server(socketserver.ThreadingTCPServer):
        allow_reuse_address = True
        daemon_threads = True
        request_queue_size = 50

    with Server(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()


def in_turn(answers: Sequence[bytes], health: bytes) -> Callable[[str], bytes]:
    """``/health`` gets its answer, and all else each of ``answers`` in turn."""
    count = 0
    lock = threading.Lock()

    def choose(path: str) -> bytes:
        nonlocal count
        if path.endswith("/health"):
            return health
        with lock:
            count += 1
            return answers[(count - 1) % len(answers)]

    return choose
