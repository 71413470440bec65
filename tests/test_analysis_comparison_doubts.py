"""Each reason not to compare deployments, or that they are not what the plan says, provoked and called by its name."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from recorded_runs import (
    MODEL,
    a_round,
    measured,
    steady_requests,
    steady_samples,
    texts_once,
    write_experiment,
    write_run,
)
from test_analysis_validity import examined, kinds, one_run, said, two

from analysis.analyse import analyse
from analysis.read.results import read_results
from analysis.show.page import render


def test_a_cpu_limit_that_differs(tmp_path: Path) -> None:
    limited = two(tmp_path / "one", limits={"cpus": 1.0})
    assert kinds(limited) == {"cpu limit"}
    assert "Host process 2, docker run 1" in said(limited)
    as_many_as_there_are = two(tmp_path / "two", limits={"cpus": 2.0})
    assert kinds(as_many_as_there_are) == set()


def test_a_model_that_differs(tmp_path: Path) -> None:
    other = two(tmp_path, service={"model": MODEL | {"sha256": "c" * 64}, "versions": {}})
    assert kinds(other) == {"model"}
    (verdict, *_) = analyse(read_results(tmp_path)).verdicts
    assert verdict.detail == "not compared: they differ in model"
    assert "not compared: they differ in model" in render(analyse(read_results(tmp_path)))


@pytest.mark.parametrize("silent", [("host", "docker"), ("docker",)])
def test_a_model_that_did_not_say_its_name_is_compared_with_none(tmp_path: Path, silent: tuple[str, ...]) -> None:
    write_experiment(tmp_path, [measured("host"), measured("docker")])
    for name in ("host", "docker"):
        service = None if name in silent else {"model": MODEL}
        write_run(tmp_path / name, "load", steady_requests(50), steady_samples(0.5), service=service)
    found = examined(tmp_path)
    assert "not compared: the service did not say which model answered" in said(found)
    assert {doubt.title for doubt in found.invalid} == {"it is not known which model answered"}


def test_a_model_and_a_circumstance_that_differ_are_two_reasons(tmp_path: Path) -> None:
    found = two(tmp_path, service={"model": MODEL | {"sha256": "c" * 64}, "versions": {}}, spawn_rate=1)
    assert {doubt.kind: doubt.text for doubt in found.invalid} == {
        "model": "docker run against Host process: not compared: they differ in model",
        "circumstances": "docker run against Host process: not compared: spawn rate not recorded for all runs",
    }


@pytest.mark.parametrize(
    "other",
    [
        {"users": 9},
        {"seed": 7},
        {"end_after_requests": 100},
        {"texts": {"sha256": "c" * 64}},
        {"service": {"model": MODEL, "versions": {}, "engine": {"name": "onnx", "weights": "fp32"}}},
    ],
)
def test_circumstances_that_differ(tmp_path: Path, other: dict[str, Any]) -> None:
    engine = {"name": "onnx", "weights": "int8"}
    write_experiment(tmp_path, [measured("host"), measured("docker")])
    alike: dict[str, Any] = {"seed": 1, "service": {"model": MODEL, "versions": {}, "engine": engine}}
    write_run(tmp_path / "host", "load", steady_requests(50), steady_samples(0.5), **alike)
    write_run(tmp_path / "docker", "load", steady_requests(50), steady_samples(0.5), **alike | other)
    assert kinds(examined(tmp_path)) == {"circumstances"}


def test_numbers_are_alike_however_they_are_written(tmp_path: Path) -> None:
    assert kinds(two(tmp_path, users=4.0, run_time_s=12.0, warm_up_s=2.0)) == set()


def test_a_load_that_is_not_the_plans_is_invalid(tmp_path: Path) -> None:
    found = one_run(tmp_path, users=50)
    assert kinds(found) == {"circumstances"}
    assert "Host process, round 1: users was 50, the plan says 4" in said(found)


def test_containers_with_unlike_memory(tmp_path: Path) -> None:
    rows = [
        measured(name) | {"rounds": [a_round(name, limits={"memory_bytes": limit})]}
        for name, limit in (("docker", 2 << 30), ("compose", 1 << 30))
    ]
    write_experiment(tmp_path, rows)
    for name in ("docker", "compose"):
        write_run(tmp_path / name, "load", steady_requests(50), steady_samples(0.5))
    assert kinds(examined(tmp_path)) == {"circumstances"}
    assert "docker run 2,147 MB, Docker Compose 1,074 MB" in said(examined(tmp_path))


def test_images_that_differ(tmp_path: Path) -> None:
    images = [{"name": "i", "id": id, "bytes": 1} for id in ("sha256:1", "sha256:2")]
    write_experiment(tmp_path, [measured("docker", image=images[0]), measured("compose", image=images[1])])
    for name in ("docker", "compose"):
        write_run(tmp_path / name, "load", steady_requests(50), steady_samples(0.5))
    assert kinds(examined(tmp_path)) == {"image"}


def test_two_runs_of_one_time_are_not_two_measurements(tmp_path: Path) -> None:
    write_experiment(tmp_path, [measured("host", 2), measured("docker", 2)])
    for name in ("host", "docker"):
        for number in (1, 2):
            write_run(tmp_path / name, "load", steady_requests(50), steady_samples(0.5), number=number)
    assert kinds(examined(tmp_path)) == set()
    shutil.rmtree(tmp_path / "host" / "round-2")
    shutil.copytree(tmp_path / "host" / "round-1", tmp_path / "host" / "round-2")
    found = examined(tmp_path)
    assert kinds(found) == {"twice"}
    assert "Host process, round 1, and Host process, round 2, have runs at the same time" in said(found)
    assert {verdict.kind for verdict in analyse(read_results(tmp_path)).verdicts} == {"no verdict"}


def test_a_record_that_says_nothing_of_the_machines_says_so(tmp_path: Path) -> None:
    write_experiment(tmp_path, [measured("docker")], machine={}, engine=None)
    write_run(tmp_path / "docker", "load", steady_requests(50), steady_samples(0.5))
    found = examined(tmp_path)
    assert kinds(found) == set()
    assert "does not tell whether the Docker engine ran on this machine" in said(found)
    assert "does not say how many CPUs the machine has" in said(found)


def test_a_service_of_other_versions_is_doubted(tmp_path: Path) -> None:
    write_experiment(tmp_path, [measured("host"), measured("docker")])
    for name, python in (("host", "3.13.1"), ("docker", "3.12.9")):
        told = {"model": MODEL, "versions": {"python": python}}
        write_run(tmp_path / name, "load", steady_requests(50), service=told)
    assert "The deployments ran different versions of python: Host process 3.13.1, docker run 3.12.9" in said(
        examined(tmp_path)
    )


@pytest.mark.parametrize(
    ("other", "kind"),
    [
        ({"service": {"model": MODEL | {"sha256": "c" * 64}}}, "model"),
        ({"texts": {"sha256": "c" * 64}}, "circumstances"),
        ({"user_class": "NewConnectionUser"}, "circumstances"),
        ({"spawn_rate": 2}, "circumstances"),
    ],
)
def test_rounds_of_one_deployment_are_alike_too(tmp_path: Path, other: dict[str, Any], kind: str) -> None:
    write_experiment(tmp_path, [measured("host", 2)])
    alike: dict[str, Any] = {"spawn_rate": 4}
    write_run(tmp_path / "host", "load", steady_requests(50), steady_samples(0.5), **alike)
    write_run(tmp_path / "host", "load", steady_requests(50), steady_samples(0.5), number=2, **(alike | other))
    found = examined(tmp_path)
    assert kinds(found) == {kind}
    assert "Host process, its own runs: not compared: " in said(found)


@pytest.mark.parametrize(
    "other", [{"service": {"model": MODEL | {"sha256": "c" * 64}}}, {"texts": {"sha256": "c", "count": 160}}]
)
def test_single_passes_are_alike_too(tmp_path: Path, other: dict[str, Any]) -> None:
    write_experiment(tmp_path, [measured("host")])
    write_run(tmp_path / "host", "load", steady_requests(50), steady_samples(0.5))
    once: dict[str, Any] = {"warm_up_s": 0, "texts": {"sha256": "b" * 64, "count": 160}} | other
    write_run(tmp_path / "host", "single_pass", texts_once(), steady_samples(0.5, phase="measured"), **once)
    assert kinds(examined(tmp_path)) in ({"model"}, {"circumstances"})


@pytest.mark.parametrize(
    ("plan", "limits", "expected"),
    [
        ({"user_class": "new_connection"}, {}, "the users were KeepAliveUser, the plan says NewConnectionUser"),
        ({"cpus": 1}, {"cpus": 2}, "the limit of cpus was 2, the plan says 1"),
        ({"memory_mb": 1024}, {"memory_bytes": 2**31}, "limit of memory_bytes was 2,147,483,648, the plan says 1,073"),
    ],
)
def test_users_and_limits_that_are_not_the_plans(
    tmp_path: Path, plan: dict[str, Any], limits: dict[str, Any], expected: str
) -> None:
    write_experiment(tmp_path, [measured("docker") | {"rounds": [a_round("docker", limits=limits)]}])
    write_run(tmp_path / "docker", "load", steady_requests(50), steady_samples(0.5))
    path = tmp_path / "experiment.json"
    record = json.loads(path.read_text())
    path.write_text(json.dumps(record | {"plan": record["plan"] | plan}))
    assert kinds(examined(tmp_path)) == {"circumstances"}
    assert expected in said(examined(tmp_path))
