"""The app with a fake in place of the model: what it answers and what it refuses."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from inference.app import MAX_REQUEST_BYTES, Service, create_app
from inference.classifier import Classification, ClientGone, QueueFull
from inference.metrics_log import HEADER, MetricsLog
from inference.model_choice import ModelChoice


class FakeClassifier:
    versions = {"fake": "1"}
    engine = {"name": "fake"}

    async def classify(self, text: str, is_gone: Callable[[], bool]) -> Classification:
        if text == "one too many":
            raise QueueFull("256 texts wait already")
        if text == "too late":
            raise ClientGone
        truncated_to = 512 if text.startswith("long") else None
        return Classification("POSITIVE", 0.875, queue_ms=1.25, inference_ms=205.871, truncated_to=truncated_to)


@pytest.fixture
def metrics(tmp_path: Path) -> Iterator[MetricsLog]:
    with MetricsLog(tmp_path / "metrics.csv") as log:
        yield log


@pytest.fixture
def client(metrics: MetricsLog) -> TestClient:
    model = ModelChoice("fake", "folder", Path("fake"), "0" * 64)
    app = create_app(Service(FakeClassifier(), model, metrics, "replica-7"))
    return TestClient(app, raise_server_exceptions=False)


def rows_logged(metrics: MetricsLog) -> int:
    metrics.close()
    return metrics.path.read_text().count("\n") - 1


def test_the_answer_is_csv_unless_json_is_asked_for(client: TestClient) -> None:
    answer = client.post("/infer", json={"text": "This movie was fantastic!"}, headers={"Accept": "*/*"})
    assert answer.status_code == 200
    assert answer.headers["Content-Type"] == "text/csv; charset=utf-8"
    header, row = csv.reader(io.StringIO(answer.text))
    assert header == list(HEADER)
    assert row[:3] == ["205.87", "POSITIVE", "This movie was fantastic!"]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}", row[3])


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        ("Application/JSON", "application/json"),
        ("nonsense, application/json", "application/json"),
        ("application/json;q=0.9, TEXT/csv;q=0.5, a/b/c", "application/json"),
        ("text/csv;q=0", "application/json"),
        ("text/csv;q=0, application/json;q=0", "text/csv"),
        ("text/html", "text/csv"),
        ("*/*;q=0.1, application/json;q=0", "text/csv"),
        ("application/json, " + "a/b;" * 1_000, "application/json"),
    ],
)
def test_accept_is_read_as_far_as_it_can_be(client: TestClient, accept: str, expected: str) -> None:
    answer = client.post("/infer", json={"text": "x"}, headers={"Accept": accept})
    assert answer.headers["Content-Type"].partition(";")[0] == expected


def test_json_has_the_fields_that_are_promised(client: TestClient) -> None:
    answer = client.post("/infer", json={"text": "Prächtig!"}, headers={"Accept": "application/json"})
    said = answer.json()
    assert said.pop("timestamp")
    assert said == {
        "input_text": "Prächtig!",
        "sentiment": "POSITIVE",
        "score": 0.875,
        "latency_ms": 205.87,
        "replica": "replica-7",
        "truncated": False,
    }


def test_headers_say_who_answered_and_where_the_time_went(client: TestClient) -> None:
    answer = client.post("/infer", json={"text": "x"})
    assert answer.headers["X-Replica"] == "replica-7"
    assert answer.headers["Server-Timing"] == "queue;dur=1.250, inference;dur=205.871"
    assert "X-Truncated" not in answer.headers


def test_a_text_that_was_cut_is_said_to_be(client: TestClient) -> None:
    answer = client.post("/infer", json={"text": "long text"}, headers={"Accept": "application/json"})
    assert answer.json()["truncated"] is True
    assert "512 tokens" in answer.headers["X-Truncated"]


def test_the_row_logged_is_the_row_answered(client: TestClient, metrics: MetricsLog) -> None:
    answer = client.post("/infer", json={"text": 'a, "b"\nc'})
    metrics.close()
    assert metrics.path.read_text() == answer.text


def test_health_names_model_and_replica(client: TestClient, metrics: MetricsLog) -> None:
    said = client.get("/health").json()
    assert said["status"] == "ok"
    assert said["model"] == {"name": "fake", "source": "folder", "sha256": "0" * 64}
    assert said["engine"] == {"name": "fake"}
    assert said["replica"] == "replica-7"
    assert rows_logged(metrics) == 0


JSON = "application/json"


@pytest.mark.parametrize(
    ("body", "content_type", "status", "expected"),
    [
        (b"{nonsense", JSON, 400, "not JSON"),
        (b"\xff\xfe", JSON, 400, "not JSON"),
        (b"", JSON, 400, "not JSON"),
        (b"[" * 20000, JSON, 400, "not JSON"),
        (b'["text"]', JSON, 400, "not a JSON object"),
        (b"{}", JSON, 400, '"text" is missing'),
        (b'{"text": 5}', JSON, 400, "not a string"),
        (b'{"text": null}', JSON, 400, "not a string"),
        (b'{"text": ""}', JSON, 400, "empty"),
        (b'{"text": " \\n "}', JSON, 400, "empty"),
        (b'{"text": "\\ud800"}', JSON, 400, "not valid Unicode"),
        (b'{"text": "x"}', "text/plain", 415, "application/json"),
        (b'{"text": "x"}', "application/x-www-form-urlencoded", 415, "application/json"),
        (b'{"text": "' + b"x" * MAX_REQUEST_BYTES + b'"}', JSON, 413, str(MAX_REQUEST_BYTES)),
    ],
)
def test_bad_input_is_refused_with_what_was_expected(
    client: TestClient, metrics: MetricsLog, body: bytes, content_type: str, status: int, expected: str
) -> None:
    answer = client.post("/infer", content=body, headers={"Content-Type": content_type})
    problem = answer.json()
    assert answer.status_code == problem["status"] == status
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert problem["type"] == "about:blank"
    assert problem["title"]
    assert expected in problem["detail"]
    assert answer.headers["X-Replica"] == "replica-7"
    assert rows_logged(metrics) == 0


def test_the_wrong_method_and_path_are_problems_too(client: TestClient) -> None:
    wrong_method = client.get("/infer")
    assert wrong_method.status_code == 405
    assert "POST" in wrong_method.headers["Allow"]
    assert wrong_method.json()["detail"] == "expected POST, got GET"
    assert client.get("/nothing").json()["status"] == 404


def test_a_metrics_file_that_cannot_be_written_is_no_answer(client: TestClient, metrics: MetricsLog) -> None:
    metrics.close()
    answer = client.post("/infer", json={"text": "x"})
    assert answer.status_code == 500
    assert answer.headers["Content-Type"] == "application/problem+json"


def test_one_text_too_many_is_told_to_come_again(client: TestClient, metrics: MetricsLog) -> None:
    answer = client.post("/infer", json={"text": "one too many"})
    assert answer.status_code == 503
    assert answer.headers["Retry-After"] == "1"
    assert answer.json()["detail"] == "256 texts wait already; try again later"
    assert rows_logged(metrics) == 0


def test_metrics_count_what_was_asked(client: TestClient, metrics: MetricsLog) -> None:
    for text in ("fine", "long and fine", "one too many", "too late"):
        client.post("/infer", json={"text": text})
    client.get("/health")
    said = client.get("/metrics")
    assert said.headers["Content-Type"].startswith("text/plain")
    for line in (
        'inference_requests_total{status="200"} 2.0',
        'inference_requests_total{status="503"} 1.0',
        "inference_abandoned_total 1.0",
        'inference_compute_seconds_bucket{le="0.2"} 0.0',
        'inference_compute_seconds_bucket{le="0.5"} 2.0',
        "inference_queue_seconds_count 2.0",
    ):
        assert line in said.text.splitlines()
    assert rows_logged(metrics) == 2
