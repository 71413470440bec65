"""Serving the app: threads, keep-alive, and a stop that answers what is in flight."""

from __future__ import annotations

import signal
import threading
from types import FrameType

from cheroot.wsgi import Server
from flask import Flask

THREADS = 64
"""Requests inside the app at a time; what comes beyond waits unread, and so outside ``queue`` of Server-Timing."""

IDLE_CONNECTION_S = 75
STOP_GRACE_S = 30


def serve(app: Flask, host: str, port: int) -> None:
    """Answer until SIGTERM or SIGINT, then finish the requests in flight and return.

    cheroot keeps connections alive and sets TCP_NODELAY, without which small answers wait 40 ms.

    Raises:
        OSError: the address can't be listened on.
    """
    server = Server((host, port), app, numthreads=THREADS, request_queue_size=1024, timeout=IDLE_CONNECTION_S)
    server.keep_alive_conn_limit = None  # type: ignore[assignment]  # cheroot: no limit
    server.shutdown_timeout = STOP_GRACE_S
    stop = threading.Event()

    def ask_to_stop(number: int, frame: FrameType | None) -> None:
        stop.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, ask_to_stop)

    def accept() -> None:
        try:
            server.serve()
        finally:
            stop.set()

    server.prepare()
    accepting = threading.Thread(target=accept, name="accept")
    accepting.start()
    stop.wait()
    server.stop()
    accepting.join()
