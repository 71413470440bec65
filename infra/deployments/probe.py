"""Asks a service once, without Locust: whether it is ready, and whether it answers as its service file says."""

from __future__ import annotations

import http.client
import re
import time
from dataclasses import dataclass

import addresses
from runfiles.lines import printable, tidy
from servicefile.service_file import Request
from servicefile.texts import TextRequest

NOT_ANSWERED = (OSError, http.client.HTTPException)
"""What ``ask`` and ``get`` raise if no answer came."""

MOST_BODY_BYTES = 10 * 2**20
MOST_SHOWN = 120

LONG_PASS_S = 60.0
"""A single pass that takes longer is told before it is begun."""


@dataclass(frozen=True)
class Reply:
    """An answer, and how long it took."""

    status: int
    reason: str
    headers: tuple[tuple[str, str], ...]
    body: bytes
    seconds: float

    def header(self, name: str) -> str:
        """The value of a header; empty if there is none."""
        return next((value for key, value in self.headers if key.lower() == name.lower()), "")

    @property
    def beginning(self) -> str:
        """The beginning of the body as one line, for people."""
        line = printable(self.body[:4096].decode("utf-8", "replace")) or "(an empty body)"
        return line if len(line) <= MOST_SHOWN else f"{line[:MOST_SHOWN]} ..."


@dataclass(frozen=True)
class Pace:
    """How fast a service answers: so many seconds for one text, if it is asked one text after another."""

    answer_s: float
    texts: int

    @property
    def pass_s(self) -> float:
        """How long one pass over all texts takes."""
        return self.answer_s * self.texts

    @property
    def warning(self) -> str | None:
        """That a single pass takes long, with the remedy. None if it does not."""
        if self.pass_s <= LONG_PASS_S:
            return None
        return (
            f"a single pass of all {self.texts:,} texts takes about {self.pass_s / 60:.0f} minutes, for each "
            "deployment in each round; name a file with fewer texts (texts in [request])"
        )


def ask(url: str, request: Request, text: TextRequest, timeout_s: float) -> Reply:
    """Send one text to the service at ``url``.

    Raises:
        NOT_ANSWERED: no answer came.
    """
    return _exchange(url, request.method, text.target.decode(), text.body or None, dict(request.headers), timeout_s)


def get(url: str, path: str, timeout_s: float) -> Reply:
    """The answer at a path of the service.

    Raises:
        NOT_ANSWERED: none came.
    """
    return _exchange(url, "GET", path, None, {}, timeout_s)


def why_wrong(reply: Reply, request: Request) -> str | None:
    """Why an answer to a text is not what the service file says, with the remedy. None if it is."""
    status, path = reply.status, request.path
    if not (200 <= status < 300 if request.status is None else status == request.status):
        return f"it answers {_why_status(reply, request)}; its answer begins: {reply.beginning}"
    if request.answer_has is not None:
        if re.search(request.answer_has.encode(), reply.body):
            return None
        return (
            f"the answer has no {tidy(request.answer_has)} (answer_has); it begins: {reply.beginning}; "
            "see what the service is sent ([request] in the service file)"
        )
    if reply.header("Content-Type").lower().startswith("text/html"):
        return (
            f"it answers {request.method} {path} with a web page, which begins: {reply.beginning}; "
            "set path in [request] to where it answers texts, or say with answer_has what a right answer has"
        )
    return None


NOT_UNDERSTOOD = "it does not understand what it is sent; set path, headers and body in [request]"
FAILS = "it fails; see what its log says, and whether body in [request] is what it expects"
MEANINGS = {
    400: NOT_UNDERSTOOD,
    401: "it needs a login; put it into headers in [request], or measure the service without it",
    403: "it refuses; put what it needs into headers in [request]",
    404: "there is no such path; set path in [request]",
    415: NOT_UNDERSTOOD,
    422: NOT_UNDERSTOOD,
}
"""What statuses mean, with the remedy."""


def _why_status(reply: Reply, request: Request) -> str:
    meaning = MEANINGS.get(reply.status, FAILS if reply.status >= 500 else "set status in [request] if that is right")
    if reply.status == 405:
        meaning = f"it takes {tidy(reply.header('Allow')) or 'another method'} there; set method in [request]"
    if 300 <= reply.status < 400:
        meaning = f"it redirects to {tidy(reply.header('Location'))}; set path in [request] to where it answers"
    return f"{request.method} {request.path} with status {reply.status} {tidy(reply.reason)}: {meaning}"


def _exchange(
    url: str, method: str, target: str, body: bytes | None, headers: dict[str, str], timeout_s: float
) -> Reply:
    address = addresses.parse(url)
    has_tls = address.scheme == "https"
    connection_class = http.client.HTTPSConnection if has_tls else http.client.HTTPConnection
    connection = connection_class(address.host, address.port, timeout=timeout_s)
    began = time.monotonic()
    try:
        connection.request(method, f"{address.path}{target}", body, headers)
        answer = connection.getresponse()
        content = answer.read(MOST_BODY_BYTES)
        if answer.length and len(content) < MOST_BODY_BYTES:  # with a limit, read() does not tell
            raise http.client.IncompleteRead(content, answer.length)
    finally:
        connection.close()
    took_s = time.monotonic() - began
    return Reply(answer.status, answer.reason, tuple(answer.getheaders()), content, took_s)
