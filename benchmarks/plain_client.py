"""A plain client that knows nothing of Fourfold: what it counts is set beside what Fourfold says."""

from __future__ import annotations

import http.client
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from urllib.parse import urlsplit

BODY = b'{"text": "This movie was fantastic!"}'
HEADERS = {"Content-Type": "application/json", "Accept": "text/csv"}


@dataclass(frozen=True)
class Asked:
    """One request: when it was sent, when it was over, and whether it was answered."""

    sent_unix_s: float
    over_unix_s: float
    is_answered: bool


@contextmanager
def asking(url: str, every_s: float, timeout_s: float) -> Iterator[list[Asked]]:
    """Ask a service at a constant rate while the block lasts, whether or not it answers, each time over a new
    connection. Gives the requests that are over; the list grows."""
    asked: list[Asked] = []
    ends = threading.Event()
    threading.Thread(target=_ask_all, args=(url, every_s, timeout_s, asked, ends), daemon=True).start()
    try:
        yield asked
    finally:
        ends.set()


def _ask_all(url: str, every_s: float, timeout_s: float, asked: list[Asked], ends: threading.Event) -> None:
    due = time.monotonic()
    while not ends.wait(max(0.0, due - time.monotonic())):
        due += every_s
        threading.Thread(target=_ask, args=(url, timeout_s, asked), daemon=True).start()


def _ask(url: str, timeout_s: float, asked: list[Asked]) -> None:
    at, place = time.time(), urlsplit(url)
    connection = http.client.HTTPConnection(str(place.hostname), place.port, timeout=timeout_s)
    try:
        connection.request("POST", "/infer", BODY, HEADERS)
        is_answered = connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        is_answered = False
    finally:
        connection.close()
    asked.append(Asked(at, time.time(), is_answered))
