"""A server that is the queue of a textbook: it serves one request at a time, first come first served.

    python -m benchmarks.queueing_server constant|exponential [--seed N]

A service takes exactly 10 ms, or is drawn from an exponential distribution with that mean. The server prints its port
and answers any request, until it is ended. ``Server-Timing`` in each answer says how long the request waited and how
long its service took.

When a request arrives, its end is computed: ``max(now, end of the one before) + service``. The answer is written at
that time. If it is written late, as the machine was busy, that delays no other answer.
"""

from __future__ import annotations

import argparse
import random
import selectors
import socket
import sys
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from httptools import HttpParserError, HttpRequestParser

from benchmarks.needs import run
from benchmarks.queueing_cases import CONSTANT, EXPONENTIAL, SERVICE_MS

READ_BYTES = 65536


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.queueing_server", description=(__doc__ or "").split("\n", 1)[0]
    )
    parser.add_argument("services", choices=(CONSTANT, EXPONENTIAL), help="how long they take: all alike, or drawn")
    parser.add_argument("--seed", type=int, default=1, help="of the drawn services (1)")
    arguments = parser.parse_args()
    with socket.create_server(("127.0.0.1", 0), backlog=1024) as listener:
        print(listener.getsockname()[1], flush=True)
        Server(listener, service_times(arguments.services, arguments.seed)).serve()
    return 0


def service_times(services: str, seed: int) -> Callable[[], float]:
    """A function that returns how long the next service takes, in seconds."""
    if services == CONSTANT:
        return lambda: SERVICE_MS / 1000
    chance = random.Random(seed)  # noqa: S311  no secret
    return lambda: chance.expovariate(1000 / SERVICE_MS)


@dataclass(frozen=True, slots=True)
class Due:
    """An answer, and when it is to be written, by the clock ``time.perf_counter``."""

    at_s: float
    connection: Connection
    answer: bytes


class Server:
    """The queue and its connections, in one thread.

    It waits with select(2), whose time-out counts in microseconds. That of epoll, which asyncio and gevent use, counts
    in whole milliseconds. select takes up to about 1,000 connections.
    """

    def __init__(self, listener: socket.socket, next_service_s: Callable[[], float]) -> None:
        self._listener = listener
        self._next_service_s = next_service_s
        self._selector = selectors.SelectSelector()
        self._due: deque[Due] = deque()  # in order, as each ends after the one before
        self._last_end_s = 0.0

    def serve(self) -> None:
        """Answer requests for ever."""
        self._listener.setblocking(False)
        self._selector.register(self._listener, selectors.EVENT_READ)
        while True:
            ready = self._selector.select(self._due[0].at_s - time.perf_counter() if self._due else None)
            while self._due and self._due[0].at_s <= time.perf_counter():
                due = self._due.popleft()
                due.connection.write(due.answer)
            for key, _ in ready:
                if key.data is None:
                    self._accept()
                elif not key.data.read():
                    self._selector.unregister(key.fileobj)
                    key.data.close()

    def arrive(self, connection: Connection) -> None:
        """A request has arrived whole."""
        now_s = time.perf_counter()
        service_s = self._next_service_s()
        begin_s = max(now_s, self._last_end_s)
        self._last_end_s = begin_s + service_s
        timing = f"queue;dur={(begin_s - now_s) * 1000:.6f}, inference;dur={service_s * 1000:.6f}"
        head = f"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nServer-Timing: {timing}\r\nContent-Length: 2\r\n\r\n"
        self._due.append(Due(self._last_end_s, connection, head.encode() + b"ok"))

    def _accept(self) -> None:
        try:
            accepted, _ = self._listener.accept()
        except (BlockingIOError, ConnectionAbortedError):  # the client has gone already
            return
        self._selector.register(accepted, selectors.EVENT_READ, Connection(accepted, self.arrive))


class Connection:
    """A client's connection, which is kept open until the client closes it."""

    def __init__(self, accepted: socket.socket, arrive: Callable[[Connection], None]) -> None:
        accepted.setblocking(False)
        accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._socket = accepted
        self._arrive = arrive
        self._parser = HttpRequestParser(self)

    def read(self) -> bool:
        """Read what came. Returns whether more may come."""
        try:
            data = self._socket.recv(READ_BYTES)
            self._parser.feed_data(data)
        except BlockingIOError:
            return True
        except (OSError, HttpParserError):
            return False
        return bool(data)

    def on_message_complete(self) -> None:
        """What httptools calls."""
        self._arrive(self)

    def write(self, answer: bytes) -> None:
        """Write an answer, which fits into the socket's buffer. A client that has gone gets none."""
        try:
            self._socket.send(answer)
        except OSError:
            return

    def close(self) -> None:
        self._socket.close()


if __name__ == "__main__":
    sys.exit(run(main))
