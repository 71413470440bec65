"""One request as a row of ``PREFIX_requests.csv``, from what Locust says of it."""

from __future__ import annotations

from typing import Any

from _server_timing import server_timing

LONGEST_TEXT = 200
"""Characters that are kept of a replica's name and of an error."""


def request_row(
    replica_header: str,
    response_time: float,
    response_length: int,
    response: Any,
    context: dict[str, Any],
    exception: Exception | None,
    start_time: float,
    **_: Any,
) -> dict[str, Any]:
    """A row of ``REQUEST_COLUMNS`` without the phase, which only the recording knows. It counts ``reconnected``.

    ``replica_header`` is the header by which an answer tells who answered. The other arguments are those of Locust's
    event ``request``.
    """
    headers = getattr(response, "headers", None) or {}
    timing = _header(headers, "server-timing")
    durations = server_timing(timing) if timing else {}
    reused, retried = context.get("connection_reused"), context.get("retried")
    return {
        "started_at_unix_s": start_time,
        "response_time_ms": response_time,
        "status": getattr(response, "status_code", 0) or 0,
        "error": _brief(str(exception).partition("\n")[0]) or type(exception).__name__ if exception else "",
        "request_bytes": context.get("request_bytes"),
        "response_bytes": response_length,
        "text_id": context.get("text_id"),
        "replica": _brief(_header(headers, replica_header.lower()) or ""),
        "queue_ms": durations.get("queue"),
        "inference_ms": durations.get("inference"),
        "connection_reused": None if reused is None else int(reused),
        "block": context.get("block"),
        "client_wait_ms": context.get("client_wait_ms"),
        "retried": None if retried is None else int(retried),
        "send_delay_ms": context.get("send_delay_ms"),
        "reconnected": int(context.get("reconnected", False)),
    }


def _header(headers: Any, name: str) -> str | None:
    """A header's value. Some clients give a list if a proxy added the header a second time: all its values."""
    value = headers.get(name)
    return ", ".join(value) if isinstance(value, list) else value


def _brief(text: str) -> str:
    return text if len(text) <= LONGEST_TEXT else text[:LONGEST_TEXT] + "..."
