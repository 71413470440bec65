"""What a student meets who measures an own service for the first time: advice that can be copied, and faults that are
told before anything is measured."""

from __future__ import annotations

import shutil
import subprocess
import sys
import textwrap
from dataclasses import replace
from pathlib import Path

import pytest
from conftest import OWN, ROOT, free_port
from recorded_runs import Target, a_round, in_blocks, measured, request, steady_requests, write_experiment, write_run
from rich.console import Console
from test_progress import begun, now  # noqa: F401  a fixture

from analysis.analyse import analyse
from analysis.judge.advice import command_with
from analysis.read.results import read_results
from analysis.show.cards import cards
from analysis.show.facts import header_facts
from analysis.show.layout_facts import layout_facts
from analysis.show.page import render
from analysis.show.tables import pair_tables
from infra import first_look
from infra.deployments.docker_engine import Engine
from infra.deployments.settings import Settings
from infra.deployments.users_files import why_not_valid
from infra.experiment.enough import Budget
from infra.experiment.journal import Step
from infra.experiment.plan import Plan
from infra.experiment.progress import View
from infra.last_words import counted
from runfiles.events import CUT_OFF
from runfiles.files import SERVICE_LOG_FILE
from servicefile.service_file import ServiceFile, read_service
from servicefile.toml import NotValid

needs_docker = pytest.mark.skipif(shutil.which("docker") is None, reason="needs the docker command")
FOUR = ("host", "docker", "compose", "swarm-1")


def with_files(folder: Path, web: str, variables: str = "", *, service: str = "web", limits: str = "{}") -> ServiceFile:
    """A service with its own Compose file, in which the service web has these keys, and its own stack file."""
    (folder / "docker-compose.yml").write_text(f"services: {{web: {{build: ., container_name: a, {web}}}}}\n")
    (folder / "stack.yml").write_text(f"services: {{web: {{image: a, deploy: {{resources: {limits}}}}}}}\n")
    tables = [
        f'[{name}]\nfile = "{file}"\nservice = "{service}"\n[{name}.environment]\n{variables}\n'
        for name, file in (("compose", "docker-compose.yml"), ("stack", "stack.yml"))
    ]
    (folder / "service.toml").write_text('image = "an-image"\n' + "".join(tables))
    return read_service(folder / "service.toml")


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        ("python -m infra run", 'make bench ARGS="--set rounds=5"'),
        (
            "python -m infra run --service ../my-app/service.toml --only host,docker --set rounds=2 --set seconds=3",
            'make bench ARGS="--service ../my-app/service.toml --only host,docker --set seconds=3 rounds=5"',
        ),
        (
            "python -m infra run my.toml --set users=4 rounds=1 --port host=5001",
            'make bench ARGS="my.toml --port host=5001 --set users=4 rounds=5"',
        ),
        (
            "python -m infra run --service '../my app/$x.toml'",
            """make bench ARGS='--service '"'"'../my app/$$x.toml'"'"' --set rounds=5'""",
        ),
        ("python -m infra run --set", 'make bench ARGS="--set rounds=5"'),
        ("an 'open quote", 'make bench ARGS="--set rounds=5"'),
    ],
)
def test_the_advised_command_is_the_one_that_was_run_with_more_rounds(command: str, expected: str) -> None:
    assert command_with(command, rounds=5) == expected


def test_the_advised_command_can_name_other_deployments() -> None:
    command = "python -m infra run --only host --set deployments=docker seconds=3"
    assert command_with(command, only="swarm-3") == 'make bench ARGS="--only swarm-3 --set seconds=3"'


@pytest.mark.parametrize("rounds", [1, 2, 3])
def test_the_advice_to_measure_more_rounds_keeps_the_service(tmp_path: Path, rounds: int) -> None:
    ran = f"python -m infra run --service ../my-app/service.toml --only host,docker --set rounds={rounds}"
    write_experiment(tmp_path, [measured("host", rounds), measured("docker", rounds)], command=ran)
    for name in ("host", "docker"):
        for number in range(1, rounds + 1):
            write_run(tmp_path / name, "load", steady_requests(50), number=number)
    analysis = analyse(read_results(tmp_path))
    advised = 'make bench ARGS="--service ../my-app/service.toml --only host,docker --set rounds=5"'
    assert any(advised in doubt.text for doubt in analysis.validity.caveats)
    assert (advised in " ".join(analysis.headline)) == (rounds == 1)


def test_requests_that_fail_for_one_reason_are_told_once_with_the_log(tmp_path: Path) -> None:
    write_experiment(tmp_path, [measured("host", 2), measured("docker", 2)])
    for name in ("host", "docker"):
        for number in (1, 2):
            rows = [*steady_requests(50), *(request(3, error="status 500", status=500) for _ in range(20))]
            write_run(tmp_path / name, "load", rows, number=number)
    (tmp_path / "host" / "round-1" / SERVICE_LOG_FILE).write_text("ValueError: cannot read this text")
    analysis = analyse(read_results(tmp_path))
    (told,) = [doubt for doubt in analysis.validity.invalid if doubt.kind == "errors"]
    assert told.text == (
        "Host process, load of round 1: 20 of 520 requests failed (the first: status 500). The end of the service's "
        "log is in host/round-1/service.log. All that it hit: Host process, rounds 1, 2; docker run, rounds 1, 2"
    )
    assert told.deployments == ("host", "docker")


def test_lines_that_differ_only_in_their_time_are_one_with_their_count() -> None:
    said = (
        "starts\n" + "".join(f"[29/Nov/2026 10:53:{second}] POST /infr 404\n" for second in (28, 29, 30)) + "ends\n\n"
    )
    assert counted(said) == ["starts", "[29/Nov/2026 10:53:28] POST /infr 404 (3 such lines)", "ends"]
    assert counted("10:53:28 a\n10:53:28 b\n10:53:29 a\n") == ["10:53:28 a", "10:53:28 b", "10:53:29 a"]


def test_after_the_last_round_no_time_is_left(tmp_path: Path, now: list[float]) -> None:  # noqa: F811
    plan = Plan(deployments=("host", "docker"), rounds=2)
    view = View(begun(tmp_path, plan, rounds=2), Console(), Budget(6))
    with view.step(Step(2, ("host", "docker"), 1)):  # neither is measured: it fails
        now[0] += 5
        assert view.remaining() == "about 33 s left"
        view.end_step()
        assert view.remaining() == "about 0 s left"
    assert view.remaining() == "about 0 s left"


@needs_docker
@pytest.mark.engine
def test_a_look_says_what_was_asked_of_whom_and_where_the_log_is(
    engine: Engine,
    service_image: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(first_look, "FOLDER", tmp_path / "check")
    app = (ROOT / "tests" / "apps" / "small_app.py").read_text()
    app = app.replace("ANSWERS.get(MODE, ", 'ANSWERS.get("late error" if "bad" in asked["text"] else MODE, ')
    (tmp_path / "app.py").write_text(app.replace("pass\n\n\nif MODE", "print('asked', flush=True)\n\n\nif MODE"))
    (tmp_path / "Dockerfile").write_text(f'FROM {service_image}\nCOPY app.py .\nCMD ["python", "app.py"]\n')
    words = ["good"] * 4 + ["bad", "good", "bad"]
    (tmp_path / "texts.jsonl").write_text("".join(f'{{"text": "{word}"}}\n' for word in words))
    lines = ['build = "."', 'image = "fourfold-fails:test"', "[request]", 'texts = "texts.jsonl"', "[metrics]"]
    (tmp_path / "service.toml").write_text("\n".join([*lines, 'variable = ""']))
    service = read_service(tmp_path / "service.toml")
    settings = Settings(service=service, ports={"docker": free_port(), "compose": free_port()})
    try:
        assert first_look.check(["docker", "compose"], settings) == 1
    finally:
        engine.client.images.remove("fourfold-fails:test", force=True)
    said = capsys.readouterr().out
    assert "  the other 4 texts: 2 answered wrongly (numbers in texts.jsonl: 5, 7)\n" in said
    log = tmp_path / "check" / "docker" / SERVICE_LOG_FILE
    assert f"  the end of its log is in {log}\n" in said
    assert log.read_text().splitlines().count("asked") >= 7
    assert said.count("the end of its log") == 1
    assert said.endswith(
        "1 of 2 deployments that can run here answer as they should\n"
        "only docker run was asked with all texts; each other deployment that started with 3\n"
    )


@needs_docker
@pytest.mark.engine
@pytest.mark.usefixtures("engine")
def test_without_an_image_the_containers_are_not_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(first_look, "FOLDER", tmp_path / "check")
    (tmp_path / "service.toml").write_text('image = "127.0.0.1:1/no-such-image"\n')
    assert first_look.check(["docker", "compose"], Settings(read_service(tmp_path / "service.toml"))) == 1
    said = capsys.readouterr().out
    assert "; check the name, or build or load it (docker load), and run again\n" in said
    assert "no deployment can run here; the reasons are above\n" in said
    assert said.endswith("the containers could not be asked: there is no image; the reason is above\n")


@needs_docker
@pytest.mark.engine
def test_a_users_file_without_the_limits_of_the_others_is_told(tmp_path: Path) -> None:
    service = with_files(tmp_path, "")
    told = why_not_valid(FOUR, Settings(service))
    assert told == [
        "web in docker-compose.yml has no memory limit, the other containers have a memory limit of 2,147 MB: an "
        "experiment will not be valid; write mem_limit: ${MEM} among the keys of web in docker-compose.yml, and "
        'MEM = "$memory_bytes" below [compose.environment] in service.toml',
        "web in stack.yml has no memory limit, the other containers have a memory limit of 2,147 MB: an experiment "
        "will not be valid; write resources: {limits: {memory: $MEM}} below deploy of web in stack.yml, and "
        'MEM = "$memory_bytes" below [stack.environment] in service.toml',
    ]
    assert why_not_valid(("host", "docker"), Settings(service)) == []  # its files are not used
    assert why_not_valid(("host", "compose"), Settings(service)) == []  # there is no other container
    assert len(why_not_valid(FOUR, Settings(service, cpus=0.5))) == 4


@needs_docker
@pytest.mark.engine
def test_a_users_file_that_follows_the_advice_is_right(tmp_path: Path) -> None:
    variables = 'MEM = "$memory_bytes"\nCPUS = "$cpus"'
    limits = '{limits: {memory: $MEM, cpus: "$CPUS"}}'
    service = with_files(tmp_path, "mem_limit: '${MEM}', cpus: '${CPUS}'", variables, limits=limits)
    for settings in (Settings(service), Settings(service, cpus=0.5, memory_bytes=2**28)):
        assert why_not_valid((*FOUR, "compose-3"), settings) == []
    fixed = with_files(tmp_path, "mem_limit: 100M", variables, limits=limits)
    (told,) = why_not_valid(("compose",), Settings(fixed))
    assert told.startswith("web in docker-compose.yml has a memory limit of 105 MB, the other")


@needs_docker
@pytest.mark.engine
def test_the_compose_file_in_the_docs_is_right(tmp_path: Path) -> None:
    docs = (ROOT / "docs" / "own-service.md").read_text()
    example = docs.partition("Here is a Compose file with its table:")[2].partition("If your file")[0]
    file, _, table = textwrap.dedent(example).partition("[compose]")
    (tmp_path / "docker-compose.yml").write_text(file)
    (tmp_path / "service.toml").write_text(f'image = "an-image"\n[compose]{table}')
    service = read_service(tmp_path / "service.toml")
    assert service.compose is not None
    assert why_not_valid(("host", "docker", "compose"), Settings(service, cpus=0.5)) == []


@needs_docker
@pytest.mark.engine
@pytest.mark.parametrize("command", ["run", "check"])
@pytest.mark.parametrize("name", ["compose", "swarm-1"])
def test_a_wrong_service_name_ends_it_before_anything_is_started(tmp_path: Path, command: str, name: str) -> None:
    service = with_files(tmp_path, "", service="wbe")
    results = ["--results", str(tmp_path / "results")] if command == "run" else []
    done = subprocess.run(
        [sys.executable, "-m", "infra", command, "--service", str(service.path), "--only", name, *results],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    file, table = ("docker-compose.yml", "compose") if name == "compose" else ("stack.yml", "stack")
    said = f"error: there is no service wbe in {file}, it has web; set service in [{table}] of the service file\n"
    assert (done.returncode, done.stdout, done.stderr) == (2, "", said)
    assert not (tmp_path / "results").exists()


@needs_docker
@pytest.mark.engine
def test_a_compose_file_that_can_not_be_read_is_named(tmp_path: Path) -> None:
    service = with_files(tmp_path, "]")
    with pytest.raises(
        NotValid, match=r"^docker-compose\.yml can't be used: docker compose config failed: .*; correct it"
    ):
        why_not_valid(("compose",), Settings(service))


def test_without_a_docker_command_nothing_is_known_of_the_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    service = with_files(tmp_path, "", service="wbe")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert why_not_valid(FOUR, Settings(service)) == []
    assert why_not_valid(FOUR, Settings(replace(OWN, image=None))) == []


def test_a_page_without_a_measurement_says_so_and_what_was_interrupted(tmp_path: Path) -> None:
    cut_off = [a_round("host", 1, status="failed", runs=[], reason=CUT_OFF)]
    write_experiment(tmp_path, [measured("host", status="failed", reason=CUT_OFF) | {"rounds": cut_off}])
    analysis = analyse(read_results(tmp_path))
    (told,) = [doubt.text for doubt in analysis.validity.caveats if "Host process, round 1" in doubt.text]
    assert told == f"Host process, round 1 interrupted: {CUT_OFF}"
    (card,) = cards(analysis)
    assert card.values[0].text == "interrupted"
    page = render(analysis)
    assert "Nothing was measured, so there is no number to use." in page
    assert "Nothing was found that makes" not in page


def test_the_page_of_an_invalid_experiment_does_not_explain_verdicts_that_it_lacks(tmp_path: Path) -> None:
    write_experiment(tmp_path, [measured("host", 3), measured("docker", 3)])
    for name in ("host", "docker"):
        for number in (1, 2, 3):
            rows = [*steady_requests(50), *(request(3, error="status 500", status=500) for _ in range(20))]
            write_run(tmp_path / name, "load", rows, number=number)
    (table,) = pair_tables(analyse(read_results(tmp_path)))
    assert table.how_to_read == "No ratio is shown. The verdict of each pair says why."


def test_the_page_of_one_deployment_does_not_speak_of_others(tmp_path: Path) -> None:
    analysis = analyse(read_results(in_blocks(tmp_path, [Target("host")])))
    load = {fact.term: fact.text for fact in header_facts(analysis)}["Load"]
    assert "In each round the deployment ran alone, and 4 users sent requests to it, in blocks of 1 s: 10 to it" in load
    layout = {fact.term: fact.text for fact in layout_facts(analysis)}["Layout"]
    assert layout.startswith("in blocks: the load visited the one deployment again and again. A visit is a block")
