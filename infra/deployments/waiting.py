"""Waiting for a service by asking it again and again, never by sleeping for a fixed time."""

from __future__ import annotations

import time
from collections.abc import Callable

import requests

from infra.errors import DeploymentError

POLL_S = 0.2


def until_healthy(url: str, seconds: float, evidence: Callable[[], str | None]) -> None:
    """Return once ``url``/health answers 200.

    ``evidence`` is called between tries. It returns what is known of the service's state, for the message when the time
    is up. It raises ``DeploymentError`` if the service can no longer become healthy.

    Raises:
        DeploymentError: it did not answer within ``seconds``, or ``evidence`` raised it.
    """
    until = time.monotonic() + seconds
    while True:
        if is_healthy(url):
            return
        state = evidence()
        if time.monotonic() > until:
            raise DeploymentError(f"{url}/health did not answer within {seconds:g} s" + (f": {state}" if state else ""))
        time.sleep(POLL_S)


def is_healthy(url: str) -> bool:
    """Whether the service answers now."""
    with requests.Session() as session:
        session.trust_env = False  # no proxy, no .netrc: they are for the user's downloads
        try:
            return session.get(f"{url}/health", timeout=POLL_S * 10).status_code == 200
        except requests.RequestException:
            return False


def until_true(condition: Callable[[], bool], seconds: float) -> bool:
    """Poll ``condition`` for at most ``seconds``. Returns its last value."""
    until = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > until:
            return False
        time.sleep(POLL_S)
    return True
