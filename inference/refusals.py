"""What a client can do wrong, and the problem document (RFC 9457) that says so."""

from __future__ import annotations

import json
from collections.abc import Mapping
from http import HTTPStatus

from starlette.exceptions import HTTPException
from starlette.responses import Response

FAULTS = {
    "left": "the client left before it was answered",
    "http": "what was sent is no HTTP/1.1 request",
    "head": "the request's head is too long",
    "slow": "the request did not arrive in time",
    "path": "there is no such path",
    "method": "the path does not take the method",
    "length": "the body is too long",
    "type": "the body is not declared as JSON in UTF-8 without a Content-Encoding",
    "json": "the body is not JSON",
    "text": "the body holds no text to classify",
}
"""Kinds of fault of a client -> what they mean. ``/metrics`` counts them by kind; none is logged."""

FAULT = "fourfold.fault"
"""The key in a request's scope for the ClientFault that the server found while the body came."""


class ClientFault(HTTPException):
    """A request is refused because of the client. ``kind`` is one of FAULTS."""

    def __init__(self, kind: str, status: int, detail: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(status, detail, headers)
        self.kind = kind


def problem(status: int, detail: str, headers: Mapping[str, str]) -> Response:
    """A response with a problem document."""
    content = {"type": "about:blank", "title": HTTPStatus(status).phrase, "status": status, "detail": detail}
    return Response(json.dumps(content), status, {**headers, "Content-Type": "application/problem+json"})
