"""The HTTP side of the service: what is asked, what is answered, what is refused."""

from __future__ import annotations

import json
import os
import socket
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any

from flask import Flask, Response, request
from werkzeug.exceptions import (
    BadRequest,
    HTTPException,
    RequestEntityTooLarge,
    ServiceUnavailable,
    UnsupportedMediaType,
)

from inference.classifier import Classification, Classifier, ClientGone, QueueFull
from inference.metrics_log import HEADER, MetricsLog, MetricsRow, csv_line
from inference.model_choice import ModelChoice
from inference.telemetry import Telemetry

MAX_REQUEST_BYTES = 64 * 1024
"""Far more than any model here reads; a body beyond it is a mistake."""

EXPECTED = 'expected a JSON object with one text to classify, such as {"text": "This movie was fantastic!"}'


IS_GONE = "fourfold.is_gone"
"""In a request's environment: a function that says whether its client has closed the connection."""

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


def create_app(service: Service) -> Flask:
    """The Flask app over a classifier that has been loaded: ``POST /infer``, ``GET /health`` and ``GET /metrics``."""
    app = Flask(__name__)
    app.config["MAX_CONTENT_LENGTH"] = MAX_REQUEST_BYTES

    @app.post("/infer")
    def infer() -> Response:
        text = _text_of_request()
        try:
            found = service.classifier.classify(text, request.environ.get(IS_GONE, _is_here))
        except QueueFull as error:
            raise ServiceUnavailable(f"{error}; try again later", retry_after=RETRY_AFTER_S) from error
        except ClientGone:
            service.telemetry.abandoned()
            return Response(status=CLIENT_GONE)
        row = MetricsRow(found.inference_ms, found.sentiment, text, datetime.now(UTC))
        service.metrics.append(row)
        service.telemetry.classified(found)
        return _answer(found, row, service.replica)

    @app.get("/health")
    def health() -> Response:
        model = {key: value for key, value in asdict(service.model).items() if key != "path"}
        return _json(
            {
                "status": "ok",
                "replica": service.replica,
                "model": model,
                "engine": service.classifier.engine,
                "versions": service.classifier.versions,
            }
        )

    @app.get("/metrics")
    def metrics() -> Response:
        return Response(service.telemetry.text(), content_type=service.telemetry.content_type)

    @app.after_request
    def say_who_answered(response: Response) -> Response:
        response.headers["X-Replica"] = service.replica
        if request.path == "/infer":
            service.telemetry.answered(response.status_code)
        return response

    app.register_error_handler(HTTPException, _problem)
    return app


def _text_of_request() -> str:
    """The text that the request asks about.

    Raises:
        RequestEntityTooLarge: the body is longer than any text can be; it is not read.
        UnsupportedMediaType: the body is not declared as JSON.
        BadRequest: it is not JSON, or holds no text that can be classified.
    """
    if (request.content_length or 0) > MAX_REQUEST_BYTES:
        raise RequestEntityTooLarge
    if not request.is_json:
        raise UnsupportedMediaType(f"expected Content-Type: application/json, got {request.mimetype or 'none'}")
    try:
        body = json.loads(request.get_data())
    except (ValueError, RecursionError) as error:
        raise BadRequest(f"the body is not JSON ({error}); {EXPECTED}") from error
    if not isinstance(body, dict):
        raise BadRequest(f"the body is not a JSON object; {EXPECTED}")
    if "text" not in body:
        raise BadRequest(f'"text" is missing; {EXPECTED}')
    text = body["text"]
    if not isinstance(text, str):
        raise BadRequest(f'"text" is not a string; {EXPECTED}')
    if not text.strip():
        raise BadRequest(f'"text" is empty; {EXPECTED}')
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise BadRequest(f'"text" is not valid Unicode (half a surrogate pair); {EXPECTED}') from error
    return text


def _is_here() -> bool:
    """For servers that don't say whether a client is gone."""
    return False


def _answer(found: Classification, row: MetricsRow, replica: str) -> Response:
    if request.accept_mimetypes.best_match(["text/csv", "application/json"], default="text/csv") == "text/csv":
        response = Response(HEADER_LINE + row.csv, content_type="text/csv; charset=utf-8")
    else:
        response = _json(
            {
                "input_text": row.text,
                "sentiment": found.sentiment,
                "score": found.score,
                "latency_ms": round(found.inference_ms, 2),
                "timestamp": row.timestamp,
                "replica": replica,
                "truncated": found.truncated_to is not None,
            }
        )
    response.headers["Server-Timing"] = f"queue;dur={found.queue_ms:.3f}, inference;dur={found.inference_ms:.3f}"
    if found.truncated_to is not None:
        response.headers["X-Truncated"] = f"only the first {found.truncated_to} tokens were read"
    response.headers["Vary"] = "Accept"
    return response


def _problem(error: HTTPException) -> Response:
    """Any refusal as a problem document (RFC 9457), headers such as ``Allow`` kept."""
    response = Response(content_type="application/problem+json")
    response.status_code = error.code or 500
    for name, value in error.get_headers(request.environ):
        if name.lower() not in ("content-type", "content-length"):
            response.headers[name] = value
    methods = set(getattr(error, "valid_methods", None) or ()) - {"OPTIONS", "HEAD"}
    detail = {
        404: "expected POST /infer, GET /health or GET /metrics",
        405: f"expected {' or '.join(sorted(methods))}, got {request.method}",
        413: f"expected a body of at most {MAX_REQUEST_BYTES} bytes",
    }.get(response.status_code, error.description)
    response.set_data(
        json.dumps(
            {
                "type": "about:blank",
                "title": HTTPStatus(response.status_code).phrase,
                "status": response.status_code,
                "detail": detail,
            }
        )
    )
    return response


def _json(content: dict[str, Any]) -> Response:
    return Response(json.dumps(content, ensure_ascii=False), content_type="application/json")
