"""What an experiment tells when something can't run: the cause once, where the log is, which texts failed, and how long
a slow service takes."""

from __future__ import annotations

import json
import platform
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from conftest import ROOT, free_port
from foreign_service import answer, foreign_service
from recorded_runs import a_round, measured, not_run, steady_requests, write_experiment, write_run
from rich.console import Console
from test_progress import begun, now  # noqa: F401  a fixture

from analysis.__main__ import _not_measured
from analysis.analyse import analyse
from analysis.judge.check_requests import error_doubts
from analysis.read.results import read_results
from analysis.read.runs import read_run
from infra import first_look
from infra.deployments import host
from infra.deployments.docker_engine import Engine
from infra.deployments.images import find_image, have_image
from infra.deployments.own_python import python_record
from infra.deployments.probe import Pace
from infra.deployments.service import Service
from infra.deployments.settings import Settings
from infra.errors import ImageError
from infra.experiment.enough import Budget
from infra.experiment.journal import Step
from infra.experiment.load import Load, Target, run_locust
from infra.experiment.plan import Plan
from infra.experiment.progress import View
from infra.last_words import LINES_KEPT, TAIL_BYTES, last_lines
from runfiles.files import FAILED_START_FILE
from runfiles.lines import is_alike
from runfiles.records import Limits, RunRecord
from servicefile.service_file import ServiceFile, read_service
from servicefile.texts import requests_of

APP = ROOT / "tests" / "apps" / "small_app.py"
DIES = "import sys; [print('line', number) for number in range(1, 301)]; sys.exit(3)"
MISSPELT = "127.0.0.1:1/no-such-image"


def service_of(folder: Path, *lines: str) -> ServiceFile:
    path = folder / "service.toml"
    path.write_text("\n".join(lines))
    return read_service(path)


def texts_in(folder: Path, count: int) -> str:
    """The key of a file with so many texts."""
    lines = [json.dumps({"id": number, "text": f"the review number {number}"}) for number in range(1, count + 1)]
    (folder / "texts.jsonl").write_text("\n".join(lines))
    return 'texts = "texts.jsonl"'


@contextmanager
def started(service: ServiceFile, results: Path, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """``infra run`` in a process of its own, which ends with the block."""
    command = [sys.executable, "-m", "infra", "run", "--service", str(service.path), "--results", str(results)]
    process = subprocess.Popen(
        [*command, *arguments], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    with process:
        try:
            yield process
        finally:
            if process.poll() is None:
                process.send_signal(signal.SIGINT)


@pytest.mark.engine
@pytest.mark.usefixtures("engine")
def test_an_image_that_is_misspelt_ends_with_its_own_code_and_the_cause_as_the_last_word(tmp_path: Path) -> None:
    lines = [f'command = "python {APP}"', 'port_variable = "PORT"', f'image = "{MISSPELT}"', "[request]"]
    service = service_of(tmp_path, *lines, texts_in(tmp_path, 5))
    quick = ["--only", "host,docker,compose", "--set", "rounds=1", "seconds=1", "warm_up_s=0", "users=1"]
    with started(service, tmp_path / "results", *quick, "--port", f"host={free_port()}") as run:
        said, _ = run.communicate(timeout=120)
    assert run.returncode == 1, said
    lines = said.splitlines()
    assert lines[-1].startswith(f"error: not measured: docker run; Docker Compose: image {MISSPELT} is not here, and")
    assert sum(line.startswith(f"docker run; Docker Compose: not run: image {MISSPELT}") for line in lines) == 2
    assert said.count(MISSPELT) == 3  # when it was found, below the figures, and at the end
    (record,) = (tmp_path / "results").glob("*/experiment.json")
    deployments = {each["name"]: each for each in json.loads(record.read_text())["deployments"]}
    assert deployments["host"]["status"] == "measured"
    assert deployments["host"]["python"] == {"version": platform.python_version(), "is_fourfolds": True}
    assert deployments["compose"]["status"] == "not run"


@pytest.mark.engine
def test_the_log_of_a_container_that_does_not_start_is_kept_and_shown_once(
    engine: Engine,
    service_image: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(first_look, "FOLDER", tmp_path / "check")
    dockerfile = tmp_path / "Dockerfile"
    dockerfile.write_text(f"FROM {service_image}\nENV PYTHON_VERSION=3.99\nCMD {json.dumps(['python', '-c', DIES])}\n")
    service = service_of(tmp_path, 'build = "."', 'image = "fourfold-dies:test"')
    settings = Settings(service=service, ports={"docker": free_port(), "compose": free_port()})
    try:
        assert first_look.check(["docker", "compose"], settings) == 1
        assert find_image(engine, "fourfold-dies:test", is_built=True).python == "3.99"
    finally:
        engine.client.images.remove("fourfold-dies:test", force=True)
    said = capsys.readouterr().out
    shown = [line for line in said.splitlines() if line.startswith("  | ")]
    assert shown == [f"  | line {number}" for number in range(281, 301)], said
    assert "docker run: failed: container llm-inference-container ended with exit code 3: line 300; " in said
    assert f"the end of its log is in {tmp_path}/check/docker/{FAILED_START_FILE}\n" in said
    assert "Docker Compose: failed for the same reason as docker run\n" in said
    assert said.endswith("0 of 2 deployments that can run here answer as they should\n")
    for name in ("docker", "compose"):
        kept = (tmp_path / "check" / name / FAILED_START_FILE).read_text().splitlines()
        assert kept[-1] == "line 300"
        assert len(kept) == LINES_KEPT
    dockerfile.write_text(f"FROM {service_image}\nRUN no-such-command\n")
    with pytest.raises(ImageError, match=r"could not be built: .*no-such-command: not found"):
        have_image(engine, settings, tmp_path / "log", lambda _: None, is_built=True)


def test_the_log_of_a_host_process_that_does_not_start_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(host, "STATE", tmp_path / "host.json")
    monkeypatch.setattr(first_look, "FOLDER", tmp_path / "check")
    (tmp_path / "app.py").write_text(DIES)
    service = service_of(tmp_path, 'command = "python app.py"', 'port_variable = "PORT"')
    settings = Settings(service=service, ports={"host": free_port()})
    for _ in range(2):  # the second look does not show what the first one left
        assert first_look.check(["host"], settings) == 1
        said = capsys.readouterr().out
        kept = tmp_path / "check" / "host" / FAILED_START_FILE
        assert kept.read_text().splitlines() == [f"line {number}" for number in range(101, 301)]
        ended = "Host process: failed: the service ended with exit code 3: line 300"
        assert f"{ended}; the end of its log is in {kept}\n" in said
        assert said.count("  | line ") == 20


def test_what_is_kept_of_a_log_is_bounded() -> None:
    assert last_lines("") == ""
    assert last_lines("a\nb\nc", 2) == "b\nc"
    assert len(last_lines("ü" * 1000 + "\n" * 3 + ("é" * 1000 + "\n") * LINES_KEPT).encode()) <= TAIL_BYTES + 3


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        ("http://127.0.0.1:5010 runs, but it fails", "http://127.0.0.1:8080 runs, but it fails", True),
        ("container llm-inference-container ended: 10:08:50 no", "container b-1 ended: 10:09:51 no", True),
        ("it ended; its log is in /a/docker/round-1/x.log", "it ended; its log is in /a/compose/round-2/x.log", True),
        ("ended with exit code 1", "ended with exit code 137", False),
        ("port 5010 is taken by a", "port 5010 is taken by b", False),
    ],
)
def test_two_reasons_of_one_cause_are_known(first: str, second: str, expected: bool) -> None:
    assert is_alike(first, second) == expected


def test_each_cause_is_said_once_and_later_lines_name_whom_it_hit_first(tmp_path: Path) -> None:
    console = Console(width=200)
    view = View(begun(tmp_path, Plan(), rounds=1), console, Budget(6))
    with console.capture() as capture:
        view.say_why("docker run, round 1", "failed", "container a ended with exit code 1: no flask")
        view.say_why("Docker Compose, round 1", "failed", "container b-1 ended with exit code 1: no flask")
        view.say_why("docker run, round 2", "failed", "container a ended with exit code 2: no flask")
    assert capture.get().splitlines() == [
        "docker run, round 1: failed: container a ended with exit code 1: no flask",
        "Docker Compose, round 1: failed for the same reason as docker run, round 1",
        "docker run, round 2: failed: container a ended with exit code 2: no flask",
    ]


def test_page_and_summary_have_each_cause_once_with_all_that_it_hit(tmp_path: Path) -> None:
    def failed(name: str, number: int, reason: str) -> dict[str, Any]:
        return a_round(name, number, status="failed", runs=[], reason=reason)

    reason = "container {}-1 ended with exit code 1: ModuleNotFoundError: flask"
    docker = [failed("docker", number, reason.format("docker")) for number in (1, 2)]
    compose = [failed("compose", 1, "the disk is full"), failed("compose", 2, reason.format("compose"))]
    deployments = [
        measured("host", 2),
        measured("docker", status="failed", reason=docker[0]["reason"]) | {"rounds": docker},
        measured("compose", status="failed", reason=compose[0]["reason"]) | {"rounds": compose},
        not_run("swarm-1", "no IPVS here"),
        not_run("swarm-3", "no IPVS here"),
    ]
    write_experiment(tmp_path, deployments)
    for number in (1, 2):
        write_run(tmp_path / "host", "load", steady_requests(50), number=number)
    analysis = analyse(read_results(tmp_path))
    assert [doubt.text for doubt in analysis.validity.caveats if " failed: " in doubt.text] == [
        "docker run, rounds 1, 2; Docker Compose, round 2 failed: " + reason.format("docker"),
        "Docker Compose, round 1 failed: the disk is full",
    ]
    assert list(_not_measured(analysis.results.deployments)) == [
        "Swarm, 1 replica; Swarm, 3 replicas: not run: no IPVS here"
    ]


def test_the_time_left_knows_how_slow_the_answers_are(tmp_path: Path, now: list[float]) -> None:  # noqa: F811
    plan = Plan(deployments=("host", "docker"), rounds=1)
    console = Console(width=200)
    view = View(begun(tmp_path, plan, rounds=1), console, Budget(6))
    with view.step(Step(1, ("host", "docker"), 1)):
        assert view.remaining() == "about 38 s left"
        with console.capture() as capture:
            view.note_pace("host", Pace(answer_s=5.0, texts=160))
            view.note_pace("docker", Pace(answer_s=5.0, texts=160))
        # Of each: 160 texts of 5 s, 10 s of load in blocks of 1 s, of which each waits for the last answers, 4 s.
        assert view.remaining() == f"about {(2 * (800 + 10 + 50 + 4) + 2) / 60:.0f} min left"
        now[0] += 600
        assert view.remaining() == "about 19 min left"
    said = "a single pass of all 160 texts takes about 13 minutes, for each deployment in each round; name a file with"
    assert capture.get() == f"Host process is slow: {said} fewer texts (texts in [request])\n"


def test_a_round_that_takes_longer_than_the_budget_is_told(tmp_path: Path, now: list[float]) -> None:  # noqa: F811
    view = View(begun(tmp_path, Plan(deployments=("host",)), rounds=1), Console(), Budget(6))
    with view.step(Step(1, ("host",), 1)):
        assert view.remaining() == "6 min of 6 min left"
        view.note_pace("host", Pace(answer_s=5.0, texts=160))
        assert view.remaining() == "about 14 min left, more than the 6 min of the plan"


def test_a_slow_service_is_told_while_its_single_pass_runs(tmp_path: Path) -> None:
    app = tmp_path / "app.py"
    app.write_text(APP.read_text().replace('if MODE == "late error":\n            time.sleep(10)', "time.sleep(0.5)"))
    lines = ['command = "python app.py"', 'port_variable = "PORT"', "[request]", texts_in(tmp_path, 240)]
    service = service_of(tmp_path, *lines)
    port = free_port()
    with started(service, tmp_path / "results", "--only", "host", "--port", f"host={port}") as run:
        assert run.stdout is not None
        line = next((line for line in run.stdout if "is slow" in line), "")
    # Two minutes, or some more on a busy machine.
    assert re.match(r"Host process is slow: a single pass of all 240 texts takes about [2-9] minutes, for each", line)


def test_a_pass_whose_first_answers_are_wrong_ends_at_once(tmp_path: Path) -> None:
    wrong = 'ANSWERS["late error"] if self.command == "POST" else ANSWERS.get('
    late = f"time.sleep(0.3)\n        status, kind, body = {wrong}"
    (tmp_path / "app.py").write_text(APP.read_text().replace("status, kind, body = ANSWERS.get(", late))
    lines = ['command = "python app.py"', 'port_variable = "PORT"', 'ready = "/"', "[request]", texts_in(tmp_path, 400)]
    service = service_of(tmp_path, *lines)
    with started(service, tmp_path / "results", "--only", "host", "--port", f"host={free_port()}") as run:
        said, _ = run.communicate(timeout=60)  # all texts take two minutes
    assert run.returncode == 1
    assert "runs, but it answers POST /infer with status 500" in said
    assert said.count("it answers POST /infer with status 500") == 2  # at once, and as the reason against the round
    assert "--resume" not in said  # it refuses another service file
    (log,) = (tmp_path / "results").glob("*/host/round-1/service.log")
    assert f"; the end of its log is in {log}\n" in said
    again = f"-m infra run --service {service.path} --results {tmp_path}/results --only host --port"
    assert f"Correct the service file, or the service. Then begin a new experiment: .venv/bin/python {again}" in said


def test_texts_that_fail_are_named_by_number_first_words_and_status(tmp_path: Path) -> None:
    service = service_of(tmp_path, 'command = "x"', "[request]", 'path = "/say?text=$text"', texts_in(tmp_path, 40))

    def choose(path: str) -> bytes:
        return answer(body=b"no", status="500 No" if path.endswith(("number%202", "number%2014")) else "200 OK")

    stays = Service("none", lambda _: [], "nowhere", Limits(), gone=lambda: None, last_words=lambda: "bye")
    with foreign_service(choose) as url:
        arguments = ["--host", url, "--replicas", "none", "--service", str(service.path)]
        prefix = tmp_path / "single_pass"
        outcome = run_locust(Load("single_pass", prefix, arguments), [Target("host", prefix, stays)])["host"]
    assert outcome.reason is None
    record = RunRecord.read(tmp_path / "single_pass_run.json")
    assert list(map(str, record.failed_texts)) == [
        'text 2 ("the review number 2"): status 500',
        'text 14 ("the review number 14"): status 500',
    ]
    run = read_run(tmp_path, "single_pass")
    assert run is not None
    said = [text for text, kind in error_doubts(run) if kind == "errors"]
    assert said == [
        "2 of 40 requests failed (the first: status 500). The first texts that failed: "
        'text 2 ("the review number 2"): status 500; text 14 ("the review number 14"): status 500'
    ]


def test_the_first_words_are_those_of_what_is_sent(tmp_path: Path) -> None:
    request = service_of(tmp_path, 'command = "x"', "[request]", texts_in(tmp_path, 2)).request
    assert [text.begins for text in requests_of(request)] == ["the review number 1", "the review number 2"]
    (tmp_path / "texts.jsonl").write_text(json.dumps({"text": "two\nlines " + "and many more words " * 10}))
    (text,) = requests_of(request)
    assert text.begins == "two lines and many more words and many m ..."


def test_the_python_of_the_host_process_is_known(tmp_path: Path) -> None:
    own = python_record(service_of(tmp_path, 'command = "python app.py"'))
    assert own is not None
    assert (own.version, own.is_fourfolds) == (platform.python_version(), True)
    (tmp_path / "requirements.txt").write_text("\n")
    installed = python_record(service_of(tmp_path, 'command = "python a.py"', 'requirements = "requirements.txt"'))
    assert installed is not None
    assert (installed.version, installed.is_fourfolds) == (platform.python_version(), False)
    fake = tmp_path / "bin" / "python"
    fake.parent.mkdir()
    fake.write_text("#!/bin/sh\necho 3.99.1\n")
    fake.chmod(0o755)
    named = python_record(service_of(tmp_path, 'command = "python app.py"', 'python = "bin/python"'))
    assert named is not None
    assert (named.version, named.is_fourfolds) == ("3.99.1", False)
    fake.write_text("#!/bin/sh\nexit 1\n")
    assert python_record(service_of(tmp_path, 'command = "python app.py"', 'python = "bin/python"')) is None
    assert python_record(service_of(tmp_path, 'command = "prometheus"')) is None
    assert python_record(service_of(tmp_path, 'image = "x"')) is None


@pytest.mark.parametrize(
    ("is_fourfolds", "of_image", "versions", "expected"),
    [
        (True, None, {}, "on Fourfold's own Python 3.11.2 and its libraries; the containers bring their own. A differ"),
        (True, "3.12.1", {}, "and its libraries; the containers bring their own (Python 3.12.1). A difference may"),
        (False, "3.12.1", {}, "The host process ran on Python 3.11.2, the containers on Python 3.12.1. A difference"),
        (False, "3.11.2", {}, None),
        (False, None, {}, None),
        (True, "3.12.1", {"python": "3.11.2"}, None),  # the service tells its versions, which are compared
    ],
)
def test_the_page_says_if_host_process_and_containers_ran_on_two_pythons(
    tmp_path: Path, is_fourfolds: bool, of_image: str | None, versions: dict[str, str], expected: str | None
) -> None:
    python = {"version": "3.11.2", "is_fourfolds": is_fourfolds}
    image = {"name": "i", "id": "sha256:1", "digests": [], "bytes": 1, "python": of_image}
    write_experiment(tmp_path, [measured("host", python=python), measured("docker", image=image)])
    for name in ("host", "docker"):
        write_run(tmp_path / name, "load", steady_requests(50), service={"versions": versions})
    caveats = [doubt.text for doubt in analyse(read_results(tmp_path)).validity.caveats]
    told = [text for text in caveats if "Python" in text]
    assert len(told) == (expected is not None)
    assert expected is None or expected in told[0]


def test_the_version_in_an_image_is_that_of_its_variable() -> None:
    def found(*variables: str) -> Any:
        attributes = {"Size": 1, "RepoDigests": [], "Config": {"Env": variables}}
        there = SimpleNamespace(id="sha256:1", attrs=attributes)
        images = SimpleNamespace(get=lambda _: there)
        return find_image(cast(Engine, SimpleNamespace(client=SimpleNamespace(images=images))), "x", is_built=False)

    assert found("PATH=/bin", "PYTHON_VERSION=3.12.1", "PYTHON_VERSION_X=1").python == "3.12.1"
    assert found("PATH=/bin").python is None
