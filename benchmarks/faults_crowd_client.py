"""A crowd of clients in one process: ``python -m benchmarks.faults_crowd_client KIND PORT COUNT``.

It opens COUNT connections and prints a line with their number. What it does then depends on KIND:

- idle: nothing, until a line with a number comes; then so many more clients come and ask, each over its own connection.
- slow: each client sends a byte of its request every second, until a line comes.
- burst: once a line comes, all clients ask at once.

In the end it prints a JSON object: status -> for each such answer, how many ms after its client began to send it came.
The status of a client that got no answer is 0. It ends with its standard input.
"""

from __future__ import annotations

import json
import resource
import select
import socket
import sys
import time
from collections import defaultdict
from collections.abc import Iterable

IDLE, SLOW, BURST = "idle", "slow", "burst"

BODY = b'{"text": "One of many asks the same, at the same time as all the others."}'
REQUEST = (
    b"POST /infer HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b"
    % (len(BODY), BODY)
)

ANSWERED_WITHIN_S = 30.0
BYTE_EVERY_S = 1.0


def main(kind: str, port: int, count: int) -> None:
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    crowd = Crowd(port)
    crowd.come(count)
    print(len(crowd.sockets), flush=True)
    if kind == SLOW:
        crowd.dribble()
    else:
        words = sys.stdin.readline().strip()
        askers = crowd.come(int(words)) if kind == IDLE and words else list(crowd.sockets)
        if words:
            crowd.ask(askers)
    if kind == SLOW or words:
        print(json.dumps(crowd.answers), flush=True)
        sys.stdin.read()


class Crowd:
    """Clients by the file descriptors of their connections."""

    def __init__(self, port: int) -> None:
        self.answers: dict[int, list[float]] = defaultdict(list)
        self.sockets: dict[int, socket.socket] = {}
        self._port = port
        self._began_s: dict[int, float] = {}
        self._poll = select.epoll()

    def come(self, count: int) -> list[int]:
        """Open connections, and return those that were opened."""
        came = []
        for _ in range(count):
            client = socket.create_connection(("127.0.0.1", self._port), timeout=ANSWERED_WITHIN_S)
            client.setblocking(False)
            self.sockets[client.fileno()] = client
            self._poll.register(client, select.EPOLLIN)
            came.append(client.fileno())
        return came

    def ask(self, clients: Iterable[int]) -> None:
        """Send a whole request each, and wait for the answers."""
        waiting = set(clients)
        for client in waiting:
            self._began_s[client] = time.monotonic()
            self.sockets[client].send(REQUEST)
        until_s = time.monotonic() + ANSWERED_WITHIN_S
        while waiting and (left_s := until_s - time.monotonic()) > 0:
            waiting -= self._read(left_s)
        if waiting:
            self.answers[0] += [(time.monotonic() - self._began_s[client]) * 1000 for client in waiting]

    def dribble(self) -> None:
        """Send a byte of each request every second, evenly spread, until standard input has a line or ends."""
        clients = list(self.sockets)
        self._poll.register(sys.stdin, select.EPOLLIN)
        due_s = time.monotonic()
        for turn in range(len(REQUEST) - 1):
            for client in clients:
                while (left_s := due_s - time.monotonic()) > 0:
                    if sys.stdin.fileno() in self._read(left_s):
                        return
                due_s += BYTE_EVERY_S / len(clients)
                if client in self.sockets:
                    self._began_s.setdefault(client, time.monotonic())
                    self.sockets[client].send(REQUEST[turn : turn + 1])

    def _read(self, timeout_s: float) -> set[int]:
        """Read the answers that come within some time, or the first of them; who was answered."""
        ready = {descriptor for descriptor, _ in self._poll.poll(timeout_s)}
        for client in ready & set(self.sockets):
            try:
                begin = self.sockets[client].recv(65536)
            except OSError:
                begin = b""
            took_ms = (time.monotonic() - self._began_s.get(client, time.monotonic())) * 1000
            self.answers[int(begin.split()[1]) if begin else 0].append(took_ms)
            self._poll.unregister(self.sockets[client])
            self.sockets.pop(client).close()
        return ready


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
