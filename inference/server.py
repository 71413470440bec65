"""Serving the app: threads, keep-alive, and a stop that answers what is in flight."""

from __future__ import annotations

import io
import signal
import threading
import time
from collections.abc import Iterable
from types import FrameType
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

from cheroot.wsgi import Server

THREADS = 64
"""Requests inside the app at a time; what comes beyond waits unread, and so outside ``queue`` of Server-Timing."""

IDLE_CONNECTION_S = 75
STOP_GRACE_S = 30

QUIET_S = 0.5
"""No request for so long: whoever kept a connection has been told to open its next one elsewhere."""

DRAIN_S = 5.0
"""Waiting for that at most: where there is no elsewhere, clients come back for as long as they are let in."""


LONGEST_BODY_BYTES = 1024 * 1024
"""Refused before a byte of it is read; what the app itself refuses as too large is told more kindly."""


class Traffic:
    """Hands each request on to the app, and knows when the last one came.

    A body that comes in chunks is read here, whether the app wants it or not: what an answer left unread of it, the
    server would take for the next request.
    """

    def __init__(self, app: WSGIApplication) -> None:
        self._app = app
        self.last_at_s = float("-inf")

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        self.last_at_s = time.monotonic()
        if environ.pop("HTTP_TRANSFER_ENCODING", "").lower() == "chunked":
            body = environ["wsgi.input"].read()
            environ["wsgi.input"], environ["CONTENT_LENGTH"] = io.BytesIO(body), str(len(body))
        return self._app(environ, start_response)


def serve(app: WSGIApplication, host: str, port: int) -> None:
    """Answer until SIGTERM or SIGINT, then drain, finish the requests in flight and return.

    Draining costs no client its request: each answer still given says ``Connection: close``, so that the next request
    goes to another replica, where there is one. A second signal ends the draining at once.

    cheroot keeps connections alive and sets TCP_NODELAY, without which small answers wait 40 ms.

    Raises:
        OSError: the address can't be listened on.
    """
    traffic = Traffic(app)
    server = Server((host, port), traffic, numthreads=THREADS, request_queue_size=1024, timeout=IDLE_CONNECTION_S)
    server.keep_alive_conn_limit = None  # type: ignore[assignment]  # cheroot: no limit
    server.shutdown_timeout = STOP_GRACE_S
    server.max_request_body_size = LONGEST_BODY_BYTES
    stop, hurry = threading.Event(), threading.Event()

    def ask_to_stop(number: int, frame: FrameType | None) -> None:
        (hurry if stop.is_set() else stop).set()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, ask_to_stop)

    def accept() -> None:
        try:
            server.serve()
        finally:
            hurry.set()
            stop.set()

    server.prepare()
    accepting = threading.Thread(target=accept, name="accept")
    accepting.start()
    stop.wait()
    server.keep_alive_conn_limit = 0  # cheroot: no connection outlives its next answer
    until = time.monotonic() + DRAIN_S
    while time.monotonic() < min(until, traffic.last_at_s + QUIET_S) and not hurry.wait(QUIET_S / 10):
        pass
    server.stop()
    accepting.join()
