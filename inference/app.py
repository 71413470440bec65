"""The HTTP side of the service: what is asked, what is answered, what is refused."""

from __future__ import annotations

import asyncio
import json
import os
import socket
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from functools import lru_cache
from http import HTTPStatus
from typing import Any

import mimeparse
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from inference.classifier import Classification, Classifier, ClientGone, QueueFull
from inference.metrics_log import HEADER, MetricsLog, MetricsRow, csv_line
from inference.model_choice import ModelChoice
from inference.telemetry import Telemetry

MAX_REQUEST_BYTES = 64 * 1024
"""Far more than any model here reads; a body beyond it is a mistake."""

LONGEST_BODY_BYTES = 1024 * 1024
"""A longer body is not read at all, and its connection closed behind the refusal; a shorter one is read to its end, so
that its client comes to read the refusal."""

EXPECTED = 'expected a JSON object with one text to classify, such as {"text": "This movie was fantastic!"}'

CSV, JSON = "text/csv", "application/json"

HEADER_LINE = csv_line(HEADER)

RETRY_AFTER_S = 1
"""A full queue is worked off in about that time."""

CLIENT_GONE = 499
"""No status of HTTP's: what nginx notes for a client that left. It is counted, and read by nobody."""


@dataclass(frozen=True)
class Service:
    """What the app serves with: the model, where it came from, the metrics file, and the name to answer by."""

    classifier: Classifier
    model: ModelChoice
    metrics: MetricsLog
    replica: str
    telemetry: Telemetry = field(default_factory=Telemetry)


def replica_name() -> str:
    """``REPLICA_NAME``, else the host name, which in a container is the first 12 digits of its ID.

    Raises:
        ValueError: it can't go into a header.
    """
    name = os.environ.get("REPLICA_NAME") or socket.gethostname()
    if not (name.isascii() and name.isprintable()):
        raise ValueError(f"REPLICA_NAME={name!r} goes into a header; expected printable ASCII characters")
    return name


def create_app(service: Service) -> ASGIApp:
    """The app over a classifier that has been loaded: ``POST /infer``, ``GET /health`` and ``GET /metrics``."""

    async def infer(request: Request) -> Response:
        text = await _text_of(request)
        leaves = asyncio.ensure_future(request.receive())  # behind the body comes only that the client has left
        try:
            found = await service.classifier.classify(text, leaves.done)
        except QueueFull as error:
            problem = f"{error}; try again later"
            raise HTTPException(503, problem, headers={"Retry-After": str(RETRY_AFTER_S)}) from error
        except ClientGone:
            service.telemetry.abandoned()
            return Response(status_code=CLIENT_GONE)
        row = MetricsRow(found.inference_ms, found.sentiment, text, datetime.now(UTC))
        service.metrics.append(row)
        service.telemetry.classified(found)
        return _answer(request, found, row, service.replica)

    async def health(request: Request) -> Response:
        model = {key: value for key, value in asdict(service.model).items() if key != "path"}
        return _json(
            {
                "status": "ok",
                "replica": service.replica,
                "pid": os.getpid(),
                "model": model,
                "engine": service.classifier.engine,
                "versions": service.classifier.versions,
            }
        )

    async def metrics(request: Request) -> Response:
        return Response(service.telemetry.text(), headers={"Content-Type": service.telemetry.content_type})

    app = Starlette(
        routes=[Route("/infer", infer, methods=["POST"]), Route("/health", health), Route("/metrics", metrics)],
        exception_handlers={HTTPException: _problem, Exception: _problem},
    )
    app.router.redirect_slashes = False
    return _SaysWhoAnswers(app, service)


class _SaysWhoAnswers:
    """The replica's name in the head of each answer, and each answer of the model's counted by its status."""

    def __init__(self, app: ASGIApp, service: Service) -> None:
        self._app = app
        self._header = (b"x-replica", service.replica.encode())
        self._answered = service.telemetry.answered

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        status = 0

        async def send_named(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                message["headers"].append(self._header)
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, send_named)
        finally:  # counted behind the answer, which need not wait for it
            if status and scope["path"] == "/infer":
                self._answered(status)


async def _text_of(request: Request) -> str:
    """The text that the request asks about.

    Raises:
        HTTPException: 413, the body is longer than any text can be; 415, it is not declared as JSON; 400, it is not
            JSON, or holds no text that can be classified.
    """
    sent = await _body_of(request)
    declared = request.headers.get("content-type", "none").partition(";")[0].strip().lower()
    if declared != JSON:
        raise HTTPException(415, f"expected Content-Type: application/json, got {declared}")
    try:
        body = json.loads(sent)
    except (ValueError, RecursionError) as error:
        raise HTTPException(400, f"the body is not JSON ({error}); {EXPECTED}") from error
    if not isinstance(body, dict):
        raise HTTPException(400, f"the body is not a JSON object; {EXPECTED}")
    if "text" not in body:
        raise HTTPException(400, f'"text" is missing; {EXPECTED}')
    text = body["text"]
    if not isinstance(text, str):
        raise HTTPException(400, f'"text" is not a string; {EXPECTED}')
    if not text.strip():
        raise HTTPException(400, f'"text" is empty; {EXPECTED}')
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise HTTPException(400, f'"text" is not valid Unicode (half a surrogate pair); {EXPECTED}') from error
    return text


async def _body_of(request: Request) -> bytes:
    """The whole body.

    Raises:
        HTTPException: 413, it is too long; where it is far too long, its end is not waited for.
    """
    declared = request.headers.get("content-length", "")
    length = int(declared) if declared.isdecimal() else 0
    parts: list[bytes] = []
    if length <= LONGEST_BODY_BYTES:
        length = 0
        async for part in request.stream():
            length += len(part)
            if length <= MAX_REQUEST_BYTES:
                parts.append(part)
            if length > LONGEST_BODY_BYTES:
                break
    if length > MAX_REQUEST_BYTES:
        is_left_unread = length > LONGEST_BODY_BYTES
        problem = f"expected a body of at most {MAX_REQUEST_BYTES} bytes"
        raise HTTPException(413, problem, headers={"Connection": "close"} if is_left_unread else None)
    return b"".join(parts)


def _answer(request: Request, found: Classification, row: MetricsRow, replica: str) -> Response:
    headers = {
        "Server-Timing": f"queue;dur={found.queue_ms:.3f}, inference;dur={found.inference_ms:.3f}",
        "Vary": "Accept",
    }
    if found.truncated_to is not None:
        headers["X-Truncated"] = f"only the first {found.truncated_to} tokens were read"
    if _wanted_type(request.headers.get("accept", CSV)) == CSV:
        return Response(HEADER_LINE + row.csv, headers=headers | {"Content-Type": "text/csv; charset=utf-8"})
    return _json(
        {
            "input_text": row.text,
            "sentiment": found.sentiment,
            "score": found.score,
            "latency_ms": round(found.inference_ms, 2),
            "timestamp": row.timestamp,
            "replica": replica,
            "truncated": found.truncated_to is not None,
        },
        headers,
    )


@lru_cache(maxsize=64)
def _wanted_type(accept: str) -> str:
    """CSV, unless a client would rather have JSON."""
    try:
        return str(mimeparse.best_match([JSON, CSV], accept)) or CSV
    except mimeparse.MimeTypeParseException:
        return CSV


async def _problem(request: Request, error: Exception) -> Response:
    """Any refusal as a problem document (RFC 9457), headers such as ``Allow`` kept."""
    status, detail, headers = 500, "the service failed; its log says why", {}
    if isinstance(error, HTTPException):
        status, detail, headers = error.status_code, error.detail, dict(error.headers or {})
    if status == 404:
        detail = "expected POST /infer, GET /health or GET /metrics"
    if status == 405:
        methods = sorted(set(headers["Allow"].split(", ")) - {"HEAD"})
        detail = f"expected {' or '.join(methods)}, got {request.method}"
    content = {"type": "about:blank", "title": HTTPStatus(status).phrase, "status": status, "detail": detail}
    return Response(json.dumps(content), status, headers | {"Content-Type": "application/problem+json"})


def _json(content: dict[str, Any], headers: dict[str, str] | None = None) -> Response:
    return Response(json.dumps(content, ensure_ascii=False), headers=(headers or {}) | {"Content-Type": JSON})
