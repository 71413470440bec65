"""The two JSON records as typed classes: what is written is read again, and what an earlier version did not write."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from conftest import ROOT

from runfiles.machines import DockerEngine, Machine, are_different, can_be_told_apart
from runfiles.records import (
    ExperimentRecord,
    Fault,
    FormedRecord,
    Generator,
    InferenceEngine,
    Limits,
    Model,
    ReplicaRecord,
    Replicas,
    RunMachine,
    RunRecord,
    Service,
    Texts,
)

RECORDED = sorted((ROOT / "examples").rglob("experiment.json")) + sorted((ROOT / "examples").rglob("*_run.json"))
RUN = RunRecord(
    user_class="KeepAliveUser",
    warm_up_s=0,
    started_at_unix_s=1_700_000_000,
    texts=Texts(sha256="a"),
    replicas=Replicas(list=(), problems=()),
    generator=Generator(cpu_warnings=0),
)


def kind_of(path: Path) -> type[FormedRecord]:
    return ExperimentRecord if path.name == "experiment.json" else RunRecord


def kept(content: Any, written: Any) -> bool:
    """Whether all of the content is written again, in its order, beside what an earlier version did not know."""
    if isinstance(content, dict):
        again = [key for key in written if key in content]
        return again == list(content) and all(kept(content[key], written[key]) for key in content)
    if isinstance(content, list):
        return len(content) == len(written) and all(kept(*pair) for pair in zip(content, written, strict=True))
    return type(content) is type(written) and bool(content == written)


def test_what_an_earlier_version_recorded_is_kept() -> None:
    assert len(RECORDED) > 30
    for path in RECORDED:
        record = kind_of(path).read(path)
        assert kept(json.loads(path.read_text()), record.to_json()), path
        assert kind_of(path).from_json(json.loads(record.text())) == record


def test_what_is_written_is_read_again() -> None:
    answer = {"status": "ok", "model": {"name": "m", "sha256": "b", "layers": 6}, "engine": {"threads": 2}, "x": [1]}
    record = RunRecord.from_json(
        RUN.to_json()
        | {
            "service": answer,
            "requests": 2,
            "failures": 1,
            "faults": [{"kind": "clock", "text": "late"}],
            "machine": {"node": "n", "cpu_count": 2, "cpu_percent": 50.5},
            "replicas": {"list": [{"name": "host", "id": "1", "sources": {"CPU": "psutil"}}], "problems": ["slow"]},
        }
    )
    assert record.model == Model(name="m", sha256="b")
    assert record.inference_engine == InferenceEngine(threads=2)
    assert record.faults == (Fault(kind="clock", text="late"),)
    assert record.machine == RunMachine(node="n", cpu_count=2, cpu_percent=50.5)
    assert record.replicas.list == (ReplicaRecord(name="host", id="1", sources={"CPU": "psutil"}),)
    assert record.to_json()["service"] == answer
    assert RunRecord.from_json(json.loads(record.text())) == record


def test_what_is_no_json_is_written_as_json() -> None:
    record = RunRecord.from_json(RUN.to_json() | {"user_class": "\udcff", "spawn_rate": 1.5})
    service = Service(answer={"nan": float("nan")})
    written = json.loads(RunRecord(**vars(record) | {"service": service}).text())
    assert (written["user_class"], written["service"]) == ("?", {"nan": None})


@pytest.mark.parametrize("answer", [{}, {"model": None, "engine": None, "versions": None}, {"status": 5}])
def test_a_service_that_says_little_is_read(answer: dict[str, Any]) -> None:
    record = RunRecord.from_json(RUN.to_json() | {"service": answer})
    assert (record.model, record.service_versions) == (Model(), {})
    assert not record.inference_engine.is_told
    assert record.to_json()["service"] == answer


def test_absent_fields_have_the_value_that_an_earlier_version_meant() -> None:
    content = RUN.to_json()
    for key in ("faults", "machine", "requests", "service"):
        del content[key]
    content["generator"] = {"cpu_percent": 30.0, "cpu_warnings": 0}
    record = RunRecord.from_json(content | {"key_of_a_later_version": 1})
    assert (record.faults, record.machine, record.requests, record.service) == ((), RunMachine(), None, None)
    assert record.generator.cpu_percent_all == 30.0
    assert not hasattr(record, "key_of_a_later_version")


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"users": -1}, "users is -1, which is not between 0 and 1,000,000"),
        ({"started_at_unix_s": None}, "started_at_unix_s is missing"),
        ({"ended_at_unix_s": 0}, "ended_at_unix_s is 0, which is not between"),
        ({"ended_at_unix_s": 1_600_000_000}, "which is before started_at_unix_s, 1700000000"),
        ({"ended_at_unix_s": 1_700_000_009}, "requests is missing, though the run ended"),
        ({"requests": 1, "failures": 2}, "failures is 2, more than requests, 1"),
        ({"requests": 1.5}, "requests is 1.5, which is no whole number"),
        ({"requests": True}, "requests is True, which is no whole number"),
        (
            {"replicas": {"list": [{"name": "a", "id": 1}], "problems": []}},
            "replicas.list number 1: id is 1, which",
        ),
        ({"versions": {"a b": 1}}, "versions.'a b' is 1, which is no text"),
        ({"form": 4}, "it is of form 4, this version reads forms 2 and 3"),
        ({"service": {"model": "m"}}, "service.model is 'm', which is no table"),
    ],
)
def test_a_field_that_can_t_be_is_named(change: dict[str, Any], expected: str) -> None:
    with pytest.raises(ValueError, match="is") as told:
        RunRecord.from_json(RUN.to_json() | change)
    assert expected in str(told.value)


def test_two_machines_are_told_apart_by_what_both_tell() -> None:
    machine = Machine(kernel="6.1", cpu_count=4, architecture="x86_64", memory_bytes=8_000_000_000)
    assert not are_different(machine, machine)
    assert not are_different(machine, DockerEngine(kernel="6.1", architecture="amd64", memory_bytes=7_990_000_000))
    assert are_different(machine, DockerEngine(kernel="6.2"))
    assert are_different(machine, DockerEngine(cpu_count=2))
    assert are_different(machine, DockerEngine(memory_bytes=4_000_000_000))
    assert not are_different(machine, DockerEngine(version="27"))
    assert can_be_told_apart(machine, DockerEngine(cpu_count=2))
    assert not can_be_told_apart(machine, DockerEngine(version="27"))
    assert Limits() == Limits.from_json({})
