"""Waiting until a service answers, as its service file says; and finding out early that it never will."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Sequence

import addresses
from infra.deployments.probe import NOT_ANSWERED, ask, get, why_wrong
from infra.deployments.waiting import POLL_S
from infra.errors import DeploymentError, ServiceFileError
from servicefile.service_file import READY_PORT, READY_REQUEST, ServiceFile
from servicefile.texts import requests_of

PATH_TIMEOUT_S = 2.0

OPEN_S = 0.5
"""A connection that is open for so long without a word is the service's."""

WRONG_S = 6.0
"""A service that has answered wrongly for so long does not do so only because it is starting."""

NOT_YET = (425, 429, 502, 503, 504)
"""Statuses that say: later."""

Place = tuple[str, int]
"""An IP address and a TCP port at which a service listens."""


def until_ready(
    url: str,
    service: ServiceFile,
    seconds: float,
    evidence: Callable[[], str | None],
    why_misplaced: Callable[[], str | None] = lambda: None,
    in_a_row: int = 1,
) -> None:
    """Return once the service at ``url`` is ready: it has answered so many times ``in_a_row``.

    ``evidence`` is called between tries. It returns what is known of the service's state, for the message when the time
    is up. It raises ``DeploymentError`` if the service can no longer become ready. ``why_misplaced`` says why nobody
    reaches it, though it runs: it listens elsewhere. None if nothing shows that.

    Raises:
        ServiceFileError: it has answered wrongly for ``WRONG_S``, or has been misplaced for so long.
        DeploymentError: it is not ready after ``seconds``, or ``evidence`` raised it.
    """
    tries = _Tries(url, service)
    until = time.monotonic() + seconds
    answers = 0
    while answers < in_a_row:
        reason = tries.why_not_ready(max(until - time.monotonic(), POLL_S))
        if reason is None:
            answers += 1
            continue
        answers = 0
        state = evidence()
        known = f"; {state}" if state else ""
        if tries.is_wrong_for_good():
            raise ServiceFileError(f"the service at {url} runs, but {reason}{known}")
        if tries.has_no_answer_for_long() and (misplaced := why_misplaced()):
            raise ServiceFileError(f"{misplaced}{known}")
        if time.monotonic() > until:
            raise DeploymentError(f"{url} is not ready after {seconds:g} s: {reason}{known}")
        time.sleep(POLL_S)


class _Tries:
    """The tries to reach a service, and since when they fail in the same way."""

    def __init__(self, url: str, service: ServiceFile) -> None:
        self._url = url
        self._service = service
        self._text = requests_of(service.request)[0]
        self._began_at = time.monotonic()
        self._wrong_since: float | None = None

    def why_not_ready(self, left_s: float) -> str | None:
        """Try once. Why the service is not ready yet; None: it is."""
        tried_at = time.monotonic()
        try:
            reason, is_answer = self._try(left_s)
        except NOT_ANSWERED as error:
            reason, is_answer = f"it does not answer ({error or type(error).__name__})", False
        if not is_answer:
            self._wrong_since = None
        elif self._wrong_since is None:
            self._wrong_since = tried_at
        return reason

    def _try(self, left_s: float) -> tuple[str | None, bool]:
        """Why the service is not ready, and whether that is the answer of one that runs."""
        service = self._service
        if service.ready == READY_PORT:
            return (None if _is_open(self._url) else "it closes the connection"), False
        if service.ready == READY_REQUEST:
            reply = ask(self._url, service.request, self._text, left_s)
            return why_wrong(reply, service.request), reply.status not in NOT_YET
        reply = get(self._url, service.ready, min(PATH_TIMEOUT_S, left_s))
        if reply.status == service.ready_status:
            return None, True
        reason = (
            f"it answers GET {service.ready} with status {reply.status}, not {service.ready_status}; "
            "set ready in the service file to a path that it has, or leave it out"
        )
        return reason, reply.status not in NOT_YET

    def is_wrong_for_good(self) -> bool:
        return self._wrong_since is not None and time.monotonic() - self._wrong_since >= WRONG_S

    def has_no_answer_for_long(self) -> bool:
        return self._wrong_since is None and time.monotonic() - self._began_at >= WRONG_S


def _is_open(url: str) -> bool:
    """Whether a port is open. Docker's proxy opens it before the service does, but then closes each connection.

    Raises:
        OSError: nobody listens.
    """
    address = addresses.parse(url)
    with socket.create_connection((address.host, address.port), timeout=PATH_TIMEOUT_S) as connection:
        connection.settimeout(OPEN_S)
        try:
            return bool(connection.recv(1))
        except TimeoutError:  # it waits for a request
            return True


def why_misplaced(places: Sequence[Place], port: int, where: str, *, must_reach_outside: bool) -> str | None:
    """Why a service that listens at ``places`` is not reached at ``port``, with the remedy.

    None if it may be reached there, or listens nowhere yet.

    Args:
        places: where it listens.
        port: where it should.
        where: "in the container" or "on this machine".
        must_reach_outside: it has to listen at another address than loopback.
    """
    if not places:
        return None
    at_port = [ip for ip, number in places if number == port]
    if not at_port:
        ports = ", ".join(str(number) for number in sorted({number for _, number in places}))
        return (
            f"the service listens on port {ports} {where}, and not on port {port}; "
            f"set port = {ports.partition(',')[0]} in the service file, or have it listen on {port}"
        )
    if must_reach_outside and all(_is_loopback(ip) for ip in at_port):
        return (
            f"the service listens on {at_port[0]} port {port} {where}, which nobody outside the container reaches; "
            'have it listen on 0.0.0.0, as app.run(host="0.0.0.0") does in Flask'
        )
    return None


def _is_loopback(ip: str) -> bool:
    return ip.startswith(("127.", "::ffff:127.")) or ip == "::1"
