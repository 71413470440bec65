"""``python -m infra.experiment.responder --answer FILE``: answers each request at once with the same bytes.

The load generator is run against it to measure the blank: what the generator itself adds to each response time. So it
does as little as possible. It does not look at what is asked, only at where a request ends and whether the connection
ends with it. That last answer says ``Connection: close``, as that of a service does.
"""

from __future__ import annotations

import argparse
import selectors
import socket
import sys
from contextlib import suppress
from pathlib import Path

from addresses import LOOPBACK

MOST_HEAD_BYTES = 64 * 1024
MOST_BODY_BYTES = 1024 * 1024
"""Whoever sends more is no load generator of ours. The connection is closed."""

RECEIVE_BYTES = 256 * 1024
HEAD_END = b"\r\n\r\n"
LENGTH = b"\r\ncontent-length:"
BACKLOG = 1024


class NotARequest(Exception):
    """What has come is not the beginning of a request that can be answered."""


def request_end(received: bytes) -> tuple[int, bool] | None:
    """The length of the first request in bytes, and whether the connection ends with its answer.

    None: it is not whole yet.

    Raises:
        NotARequest: it is too long, or does not tell its length.
    """
    head_end = received.find(HEAD_END)
    if head_end < 0:
        if len(received) > MOST_HEAD_BYTES:
            raise NotARequest
        return None
    head = received[:head_end].lower()
    end = head_end + len(HEAD_END)
    length_at = head.find(LENGTH)
    if length_at >= 0:
        digits = head[length_at + len(LENGTH) :].partition(b"\r\n")[0].strip()
        if not digits.isdigit() or int(digits[:8]) > MOST_BODY_BYTES:
            raise NotARequest
        end += int(digits)
    elif b"\r\ntransfer-encoding:" in head:
        raise NotARequest
    if len(received) < end:
        return None
    return end, b"\r\nconnection: close" in head


class Connection:
    """A client: what of its next request has come, and what of its answers has not gone yet."""

    def __init__(self, waiting: selectors.BaseSelector, client: socket.socket, answer: bytes) -> None:
        self._waiting = waiting
        self._client = client
        self._answer = answer
        self._last_answer = answer.replace(b"\r\n", b"\r\nConnection: close\r\n", 1)
        self._received = b""
        self._unsent = b""
        self._is_last = False
        client.setblocking(False)
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        waiting.register(client, selectors.EVENT_READ, self.receive)

    def receive(self) -> None:
        """Read what has come, and answer each request that is whole."""
        try:
            came = self._client.recv(RECEIVE_BYTES)
            self._received += came
            while not self._is_last and self._received and (found := request_end(self._received)):
                length, self._is_last = found
                self._received = self._received[length:]
                self._unsent += self._last_answer if self._is_last else self._answer
        except BlockingIOError:
            return
        except (OSError, NotARequest):
            self._close()
            return
        self._is_last |= not came
        self._send()
        if self._unsent:  # a client that does not read its answers is not read from either
            self._waiting.modify(self._client, selectors.EVENT_WRITE, self.send_rest)

    def send_rest(self) -> None:
        """Send what the kernel did not take, now that it takes more."""
        self._send()
        if not self._unsent and self._client.fileno() >= 0:
            self._waiting.modify(self._client, selectors.EVENT_READ, self.receive)

    def _send(self) -> None:
        try:
            if self._unsent:
                self._unsent = self._unsent[self._client.send(self._unsent) :]
        except BlockingIOError:
            return
        except OSError:
            self._close()
            return
        if self._is_last and not self._unsent:
            self._close()

    def _close(self) -> None:
        self._unsent = b""
        self._waiting.unregister(self._client)
        self._client.close()


def serve(listener: socket.socket, answer: bytes, end: int) -> None:
    """Answer all who connect, until there is something to read from the file descriptor ``end``, such as its end."""
    with selectors.DefaultSelector() as waiting:

        def accept() -> None:
            with suppress(OSError):  # the client has left again
                Connection(waiting, listener.accept()[0], answer)

        waiting.register(listener, selectors.EVENT_READ, accept)
        waiting.register(end, selectors.EVENT_READ)
        while True:
            for key, _ in waiting.select():
                if key.data is None:
                    return
                key.data()


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m infra.experiment.responder",
        description=f"Answer each HTTP request at {LOOPBACK} with the same bytes, and print the port. "
        "It ends with its standard input, which has to be a pipe or a terminal.",
    )
    parser.add_argument("--answer", type=Path, required=True, metavar="FILE", help="a whole answer: head and body")
    parser.add_argument("--port", type=int, default=0, help="the port to listen on (a free one)")
    arguments = parser.parse_args()
    answer = arguments.answer.read_bytes()
    with socket.create_server((LOOPBACK, arguments.port), backlog=BACKLOG) as listener:
        print(listener.getsockname()[1], flush=True)
        with suppress(KeyboardInterrupt):
            serve(listener, answer, sys.stdin.fileno())
    return 0


if __name__ == "__main__":
    sys.exit(main())
