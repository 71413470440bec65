"""One request as a row, from the arguments of Locust's event."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from runfiles.columns import REQUEST_COLUMNS, column_names

from _request_row import LONGEST_TEXT, request_row

CONTEXT = {
    "text_id": 7,
    "request_bytes": 40,
    "connection_reused": True,
    "block": 12,
    "client_wait_ms": 0.25,
    "retried": False,
    "send_delay_ms": 0.5,
    "reconnected": True,
}
HEADERS = {"server-timing": "queue;dur=0.5, inference;dur=4", "x-replica": "r"}


def row(**changed: Any) -> dict[str, Any]:
    event: dict[str, Any] = {
        "request_type": "POST",
        "name": "/infer",
        "response_time": 5.5,
        "response_length": 101,
        "response": SimpleNamespace(status_code=200, headers=HEADERS),
        "context": CONTEXT,
        "exception": None,
        "start_time": 1_790_000_000.5,
        "url": "http://127.0.0.1:5000/infer",
    }
    return request_row("X-Replica", **(event | changed))


def test_a_row_has_all_columns_but_the_phase_and_the_values_of_its_request() -> None:
    assert {*row(), "phase"} == {*column_names(REQUEST_COLUMNS), "reconnected"}  # which is only counted
    assert row() == {
        "started_at_unix_s": 1_790_000_000.5,
        "response_time_ms": 5.5,
        "status": 200,
        "error": "",
        "request_bytes": 40,
        "response_bytes": 101,
        "text_id": 7,
        "replica": "r",
        "queue_ms": 0.5,
        "inference_ms": 4.0,
        "connection_reused": 1,
        "block": 12,
        "client_wait_ms": 0.25,
        "retried": 0,
        "send_delay_ms": 0.5,
        "reconnected": 1,
    }


def test_what_another_client_does_not_say_stays_empty() -> None:
    said = row(context={}, response=None)
    unsaid = {name for name, value in said.items() if value is None}
    assert unsaid >= {"block", "client_wait_ms", "retried", "send_delay_ms", "connection_reused", "queue_ms", "text_id"}
    assert (said["status"], said["replica"], said["reconnected"]) == (0, "", 0)


def test_a_header_that_another_client_gives_as_a_list_has_all_its_values() -> None:
    headers = {"server-timing": ["queue;dur=1", "inference;dur=2"], "x-replica": ["a", "b"]}
    said = row(response=SimpleNamespace(status_code=200, headers=headers))
    assert (said["queue_ms"], said["inference_ms"], said["replica"]) == (1, 2, "a, b")


@pytest.mark.parametrize(
    ("exception", "error"),
    [
        (ConnectionResetError("gone\nand more"), "gone"),
        (ValueError(), "ValueError"),
        (ValueError("x" * 900), "x" * LONGEST_TEXT + "..."),
    ],
)
def test_an_error_is_told_in_one_short_line(exception: Exception, error: str) -> None:
    assert row(exception=exception)["error"] == error
