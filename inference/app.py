"""The routes of the service: what requests hold, what is answered, and what is refused."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from functools import lru_cache, partial
from typing import Any

import mimeparse
from starlette.applications import Starlette
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from inference.classifier import Classification, Classifier, ClientGone, QueueFull
from inference.metrics_log import HEADER, MetricsLog, MetricsRow, csv_line
from inference.model_choice import ModelChoice
from inference.refusals import FAULT, ClientFault, problem
from inference.telemetry import Telemetry

MAX_REQUEST_BYTES = 64 * 1024
"""Far more than any model here reads. A longer body is a mistake."""

LONGEST_BODY_BYTES = 1024 * 1024
"""A longer body is not read, and its connection is closed after the refusal. A shorter one is read to its end, so that
its client gets to read the refusal."""

EXPECTED = 'expected a JSON object with one text to classify, such as {"text": "This movie was fantastic!"}'

CSV, JSON = "text/csv", "application/json"

UTF_8 = "utf-8"
CHARSETS = {UTF_8, "utf8", "us-ascii", "ascii", "utf-16", "utf-16le", "utf-16be", "utf-32", "utf-32le", "utf-32be"}
"""The charsets that may be declared for a body. Its first bytes tell which one it really is."""

MOST_ECHOED = 200
"""How many characters of a header a refusal quotes."""

LONGEST_TYPES = 2000
"""How many characters of Accept and Content-Type are read. The time for it grows with the square of their number."""

HEADER_LINE = csv_line(HEADER)

RETRY_AFTER_S = 1
"""A full queue is computed in about this time."""

CLIENT_GONE = 499
"""Not a status of HTTP. nginx logs it for a client that has left. Here it is only counted, too."""


@dataclass(frozen=True)
class Service:
    """What the app works with. ``replica`` is the name that its answers carry."""

    classifier: Classifier
    model: ModelChoice
    metrics: MetricsLog
    replica: str
    telemetry: Telemetry = field(default_factory=Telemetry)


def create_app(service: Service) -> App:
    """The app for a loaded classifier: ``POST /infer``, ``GET /health`` and ``GET /metrics``."""
    refuse = partial(_refuse, service)
    app = Starlette(
        routes=[
            Route("/infer", partial(_infer, service), methods=["POST"]),
            Route("/health", partial(_health, service)),
            Route("/metrics", partial(_metrics, service)),
        ],
        exception_handlers={HTTPException: refuse, Exception: refuse},
    )
    app.router.redirect_slashes = False
    return App(app, service)


async def _infer(service: Service, request: Request) -> Response:
    """Label the text of a request, and add a row to the metrics file."""
    try:
        text = await _text_of(request)
        leaves = asyncio.ensure_future(request.receive())  # after the body, only the client's leaving is received
        found: Classification | None = await service.classifier.classify(text, leaves.done)
    except QueueFull as error:
        detail = f"{error}; try again later"
        raise HTTPException(503, detail, headers={"Retry-After": str(RETRY_AFTER_S)}) from error
    except ClientGone:
        found = None
    except ClientDisconnect:
        return _nobody(service.telemetry)
    if found is None or leaves.done():
        service.telemetry.abandoned()
        return _nobody(service.telemetry)
    row = MetricsRow(found.inference_ms, found.sentiment, text, datetime.now(UTC))
    try:
        service.metrics.append(row)
    except OSError as error:
        raise HTTPException(500, f"the metrics file can't be written ({error.strerror})") from error
    service.telemetry.classified(found)
    return _answer(request, found, row, service.replica)


async def _health(service: Service, request: Request) -> Response:
    return _json(
        {
            "status": "ok",
            "replica": service.replica,
            "pid": os.getpid(),
            "model": {key: value for key, value in asdict(service.model).items() if key != "path"},
            "engine": service.classifier.engine,
            "versions": service.classifier.versions,
        }
    )


async def _metrics(service: Service, request: Request) -> Response:
    return Response(service.telemetry.text(), headers={"Content-Type": service.telemetry.content_type})


async def _refuse(service: Service, request: Request, error: Exception) -> Response:
    return _refusal_of(request, error, service.telemetry)


class App:
    """The ASGI app. Its answers name the replica, and answers of ``/infer`` are counted by status.

    The server asks it for refusals of requests that can't go to a route.
    """

    def __init__(self, routes: ASGIApp, service: Service) -> None:
        self._routes = routes
        self._header = (b"x-replica", service.replica.encode())
        self._telemetry = service.telemetry

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        status = 0

        async def send_named(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                message["headers"].append(self._header)
                status = message["status"]
            await send(message)

        try:
            await self._routes(scope, receive, send_named)
        finally:  # after the answer, so that it need not wait for this
            if status and scope["path"] == "/infer":
                has_left = getattr(scope.get(FAULT), "kind", None) == "left"
                self._telemetry.answered(CLIENT_GONE if has_left else status)

    def refusal(self, error: HTTPException) -> ASGIApp:
        """An app that refuses any request, because of ``error``."""

        async def refuse(scope: Scope, receive: Receive, send: Send) -> None:
            answer = _refusal_of(Request(scope), error, self._telemetry)
            answer.raw_headers.append(self._header)
            await answer(scope, receive, send)

        return refuse

    def left(self, scope: Scope | None = None, *, is_whole: bool = False) -> None:
        """Count a client that left before its request went to a route. ``scope`` is the request's, if its head came."""
        self._telemetry.fault("left")
        if scope and scope["path"] == "/infer":
            self._telemetry.answered(CLIENT_GONE)
            if is_whole:
                self._telemetry.abandoned()


def _any_number(digits: str) -> None:
    """The app needs no number, and Python refuses to read an integer of more than 4,300 digits."""


def _no_number(name: str) -> None:
    raise ValueError(f"{name} is a number in Python, not in JSON")


DECODER = json.JSONDecoder(parse_int=_any_number, parse_constant=_no_number)


async def _text_of(request: Request) -> str:
    """The text that the request asks about.

    Raises:
        ClientFault: 413 if the body is too long, 415 if it is not declared as JSON or is compressed, 400 if it is not
            JSON or holds no text that can be classified.
        ClientDisconnect: the client left before the whole body had come.
    """
    fault = _fault_of_head(request.headers)
    sent = await _body_of(request)
    if fault:
        raise fault
    try:
        body = DECODER.decode(sent.decode(json.detect_encoding(sent), "surrogatepass"))
    except RecursionError as error:
        raise ClientFault(
            "json", 400, f"the body is not JSON that can be read: too deeply nested; {EXPECTED}"
        ) from error
    except ValueError as error:
        raise ClientFault("json", 400, f"the body is not JSON ({error}); {EXPECTED}") from error
    if not isinstance(body, dict):
        raise ClientFault("text", 400, f"the body is not a JSON object; {EXPECTED}")
    if "text" not in body:
        raise ClientFault("text", 400, f'"text" is missing; {EXPECTED}')
    text = body["text"]
    if not isinstance(text, str):
        raise ClientFault("text", 400, f'"text" is not a string; {EXPECTED}')
    if not text.strip():
        raise ClientFault("text", 400, f'"text" is empty; {EXPECTED}')
    try:
        text.encode()
    except UnicodeEncodeError as error:
        problem = f'"text" is not valid Unicode (half a surrogate pair); {EXPECTED}'
        raise ClientFault("text", 400, problem) from error
    return text


def _fault_of_head(headers: Headers) -> ClientFault | None:
    """What is wrong with a body according to its headers."""
    declared, charset = _declared_type(headers.get("content-type", "none"))
    if declared != JSON:
        return ClientFault("type", 415, f"expected Content-Type: application/json, got {declared[:MOST_ECHOED]}")
    if charset not in CHARSETS:
        return ClientFault("type", 415, f"expected JSON in UTF-8, got charset={charset[:MOST_ECHOED]}")
    coding = ",".join(headers.getlist("content-encoding")).lower()
    if coding and any(part.strip() not in ("", "identity") for part in coding.split(",")):
        expected = f"expected a body without Content-Encoding, got {coding[:MOST_ECHOED]}"
        return ClientFault("type", 415, expected, {"Accept-Encoding": "identity"})
    return None


@lru_cache(maxsize=64)
def _declared_type(content_type: str) -> tuple[str, str]:
    """The media type and the charset that a body is declared with."""
    content_type = content_type.lower()
    if len(content_type) > LONGEST_TYPES:
        return f"one of more than {LONGEST_TYPES} characters", UTF_8
    try:
        kind, subtype, parameters = mimeparse.parse_mime_type(content_type)
    except mimeparse.MimeTypeParseException:
        return content_type, UTF_8
    return f"{kind}/{subtype}", parameters.get("charset", UTF_8)


async def _body_of(request: Request) -> bytes:
    """The whole body.

    Raises:
        ClientFault: 413 if it is too long; if it is far too long, its end is not awaited. Or the fault that the server
            found while the body came.
        ClientDisconnect: the client left before the whole body had come.
    """
    declared = request.headers.get("content-length", "")
    is_number = declared.isascii() and declared.isdecimal()
    length = int(declared.lstrip("0") or 0) if is_number else 0  # Python reads at most 4,300 digits
    parts: list[bytes] = []
    if length <= LONGEST_BODY_BYTES:
        length = 0
        async for part in request.stream():
            length += len(part)
            if length <= MAX_REQUEST_BYTES:
                parts.append(part)
            if length > LONGEST_BODY_BYTES:
                break
    if fault := request.scope.get(FAULT):
        raise fault
    if length > MAX_REQUEST_BYTES:
        is_left_unread = length > LONGEST_BODY_BYTES
        problem = f"expected a body of at most {MAX_REQUEST_BYTES} bytes"
        raise ClientFault("length", 413, problem, {"Connection": "close"} if is_left_unread else None)
    return b"".join(parts)


def _answer(request: Request, found: Classification, row: MetricsRow, replica: str) -> Response:
    headers = {
        "Server-Timing": f"queue;dur={found.queue_ms:.3f}, inference;dur={found.inference_ms:.3f}",
        "Vary": "Accept",
    }
    if found.truncated_to is not None:
        headers["X-Truncated"] = f"only the first {found.truncated_to} tokens were read"
    if _wanted_type(",".join(request.headers.getlist("accept"))) == CSV:
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
    """JSON if the client prefers it to CSV or excludes only CSV; else CSV.

    Parts of ``accept`` that can't be read are ignored, and so is what lies beyond LONGEST_TYPES.
    """
    if len(accept) > LONGEST_TYPES:
        accept = accept[:LONGEST_TYPES].rpartition(",")[0]
    ranges = []
    for part in accept.lower().split(","):
        with contextlib.suppress(mimeparse.MimeTypeParseException):
            ranges.append(mimeparse.parse_media_range(part.strip()))

    def liking(kind: str) -> tuple[float, float]:
        quality, fitness = mimeparse.quality_and_fitness_parsed(kind, ranges)
        return (quality, fitness) if quality else (0, -fitness)  # excluded is less than not named

    return JSON if liking(JSON) > liking(CSV) else CSV


def _refusal_of(request: Request, error: Exception, telemetry: Telemetry) -> Response:
    """The problem document for a refusal, with its headers such as ``Allow``. A client's fault is counted."""
    if not isinstance(error, HTTPException):
        return problem(500, "the service failed; its log says why", {})
    status, detail, headers = error.status_code, error.detail, dict(error.headers or {})
    kind = error.kind if isinstance(error, ClientFault) else None
    if kind is None and status == 404:
        kind, detail = "path", "expected POST /infer, GET /health or GET /metrics"
        if request.method == "OPTIONS" and request.scope["path"] == "*":
            return Response(status_code=204, headers={"Allow": "GET, HEAD, POST, OPTIONS"})
    elif kind is None and status == 405:
        methods = headers["Allow"].split(", ")
        kind, detail = "method", f"expected {' or '.join(sorted(set(methods) - {'HEAD'}))}, got {request.method}"
        if request.method == "OPTIONS":
            return Response(status_code=204, headers={"Allow": ", ".join([*methods, "OPTIONS"])})
    if kind:
        telemetry.fault(kind)
    if "expect" in request.headers:  # nobody knows whether the client now sends its body
        headers["Connection"] = "close"
    return problem(status, detail, headers)


def _nobody(telemetry: Telemetry) -> Response:
    """The answer to a client that has left. It is counted, but nobody reads it."""
    telemetry.fault("left")
    return Response(status_code=CLIENT_GONE)


def _json(content: dict[str, Any], headers: dict[str, str] | None = None) -> Response:
    return Response(json.dumps(content, ensure_ascii=False), headers=(headers or {}) | {"Content-Type": JSON})
