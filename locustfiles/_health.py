"""Asks a service what it says of itself, at the path by which it tells that it is ready."""

from __future__ import annotations

import json
import logging
from typing import Any

import gevent
import requests

import addresses
from runfiles.strict_json import parse_record

TIMEOUT_S = 3.0
NOT_FOUND = "status 404"
MOST_BYTES = 64 * 1024
"""Our service answers with 1 kB. A longer answer is not kept in the record of a run."""

SPARE_LEVELS = 500
"""Half of Python's recursion limit. An answer that can be written inside this many lists can be read again by all."""

logger = logging.getLogger("fourfold")


def health(host: str, path: str) -> dict[str, Any] | None:
    """What the service says of itself. None if it does not answer with a JSON object in ``TIMEOUT_S``, or has no such
    path (``path`` is as ``ready`` in its service file)."""
    if not path.startswith("/"):
        return None
    url = f"{host}{path}"
    try:
        said = nested = parse_record(_answer(url))
        for _ in range(SPARE_LEVELS):
            nested = [nested]
        json.dumps(nested, indent=1)
    except (requests.RequestException, ValueError, RecursionError) as error:
        logger.warning("%s does not say who serves: %s", addresses.without_password(url), _why(error, host))
        return None
    return said if isinstance(said, dict) else None


def _why(error: Exception, host: str) -> str:
    """What is wrong, in words for the person who gave ``--host``."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ConnectionRefusedError):
            address = addresses.parse(host)
            return f"nobody listens at {addresses.joined(address.host, address.port)}"
        cause = cause.__cause__ or cause.__context__
    if str(error) == NOT_FOUND and addresses.parse(host).path:
        return f"{error}; leave the path out of --host if the service has none"
    return str(error)


def _answer(url: str) -> bytes:
    """The body of the answer. Asks the service itself: without a proxy, and without following a redirect.

    Raises:
        requests.RequestException: no answer.
        ValueError: it took too long, is too long, or its status is not 200.
    """
    content = b""
    with requests.Session() as session, gevent.Timeout(TIMEOUT_S, ValueError("it did not end in time")):
        session.trust_env = False
        with session.get(url, timeout=TIMEOUT_S, allow_redirects=False, stream=True) as answer:
            for part in answer.iter_content(MOST_BYTES):
                content += part
                if len(content) > MOST_BYTES:
                    raise ValueError(f"it says more than {MOST_BYTES // 1024} kB")
    if answer.status_code != requests.codes.ok:
        raise ValueError(f"status {answer.status_code}")
    return content
