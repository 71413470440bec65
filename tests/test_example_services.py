"""The services that come with Fourfold: their files, their texts, and the Python that Fourfold makes for them."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
from conftest import ROOT, free_port

from infra import first_look
from infra.deployments import host, own_python
from infra.deployments.own_python import command_of, prepare_python, python_of
from infra.deployments.probe import Reply
from infra.deployments.settings import Settings
from infra.errors import DeploymentError
from servicefile.service_file import ServiceFile, read_service
from servicefile.texts import read_texts, requests_of

FILES = [*sorted((ROOT / "services").glob("*/service.toml")), ROOT / "inference" / "service.toml"]


def service_of(folder: Path, requirements: str) -> ServiceFile:
    (folder / "requirements.txt").write_text(requirements, encoding="utf-8")
    path = folder / "service.toml"
    path.write_text('command = "pip --version"\nrequirements = "requirements.txt"\n', encoding="utf-8")
    return read_service(path)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.parent.name)
def test_a_service_that_comes_with_fourfold_can_be_asked(path: Path) -> None:
    service = read_service(path)
    requests = requests_of(service.request)
    assert len({request.target + request.body for request in requests}) > 15
    assert service.command is not None
    assert service.takes_port  # so the host process does not take the port of a container
    assert service.image is not None
    dockerfile = path.parent / "Dockerfile"
    if service.build == path.parent:
        assert re.findall(r"^EXPOSE (\d+)$", dockerfile.read_text(), re.MULTILINE) == [str(service.port)]
    assert service.request.answer_has or path.parent.name == "inference"


def test_the_docs_name_each_of_them() -> None:
    docs = (ROOT / "docs" / "own-service.md").read_text(encoding="utf-8")
    assert [str(path) for path in FILES if path.parent.relative_to(ROOT).as_posix() not in docs] == []


def test_a_query_of_prometheus_arrives_as_it_is_in_the_file() -> None:
    """Queries are full of characters that mean something else in a URL."""
    request = read_service(ROOT / "services" / "prometheus" / "service.toml").request
    texts = read_texts(request.texts)
    assert {*'+%&?#="{}[]'} <= {character for text in texts for character in text["query"]}
    for text, asked in zip(texts, requests_of(request), strict=True):
        sent = parse_qs(urlsplit(asked.target.decode()).query, strict_parsing=True)
        assert sent == {"query": [text["query"]], "time": [json.dumps(text["time"])]}


def test_httpbin_runs_in_a_container_as_it_does_on_the_host() -> None:
    service = read_service(ROOT / "services" / "httpbin" / "service.toml")
    in_container = re.search(r"^CMD (.+)$", (ROOT / "services/httpbin/Dockerfile").read_text(), re.MULTILINE)
    assert in_container is not None
    bind = {"127.0.0.1:{port}": f"0.0.0.0:{service.port}"}
    assert json.loads(in_container[1]) == [bind.get(word, word) for word in service.command or ()]


def test_requirements_are_installed_once_and_their_programs_are_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(own_python, "FOLDER", tmp_path / "python")
    service = service_of(tmp_path, "# nothing is needed\n")
    said: list[str] = []
    prepare_python(service, said.append)
    assert len(said) == 1
    assert said[0].startswith("installing requirements.txt for the host process, once; what pip says is in ")
    python = python_of(service)
    command = command_of(service.command or (), python)
    told = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert str(python.parent.parent) in told  # this pip is of the environment that was made
    prepare_python(service, said.append)
    assert len(said) == 1
    assert command_of(["python", "-c", "pass"], python) == [str(python), "-c", "pass"]
    for elsewhere in ("no-such-program", "./pip", "/bin/pip"):
        assert command_of([elsewhere], python) == [elsewhere]


def test_requirements_that_can_not_be_installed_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(own_python, "FOLDER", tmp_path / "python")
    service = service_of(tmp_path, "--no-index\nno-such-package\n")
    with pytest.raises(DeploymentError, match="No matching distribution found for no-such-package") as refused:
        prepare_python(service, lambda _: None)
    assert "or name a Python that has it (python in the service file)" in str(refused.value)


def test_an_answer_over_many_lines_is_shown_as_one() -> None:
    body = b'{\n  "label": "positive",\n  "score": 0.9\n}\n'
    assert Reply(200, "OK", (), body, 0.1).beginning == '{ "label": "positive", "score": 0.9 }'
    assert Reply(200, "OK", (), b" \n", 0.1).beginning == "(an empty body)"
    assert Reply(200, "OK", (), b"a" * 500, 0.1).beginning == f"{'a' * 120} ..."


def test_a_look_at_a_service_that_can_not_run_here_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "service.toml"
    path.write_text('image = "x"\n', encoding="utf-8")
    assert first_look.check(["host"], Settings(service=read_service(path))) == 1
    said = capsys.readouterr().out
    assert "Host process: not measured: service.toml has no command for the host process" in said
    assert said.endswith("no deployment can run here; the reasons are above\n")


@pytest.mark.parametrize("seconds", [10.0, -1.0])
def test_a_look_finds_the_one_text_that_is_answered_wrongly(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], seconds: float
) -> None:
    monkeypatch.setattr(host, "STATE", tmp_path / "host.json")
    monkeypatch.setattr(first_look, "FOLDER", tmp_path / "check")
    monkeypatch.setattr(first_look, "OTHERS_S", seconds)
    (tmp_path / "texts.jsonl").write_text('{"text": "good"}\n' * 4 + '{"text": ""}\n' + '{"text": "good"}\n')
    path = tmp_path / "service.toml"
    app = ROOT / "tests" / "apps" / "small_app.py"
    lines = [f"command = 'python {app}'", 'port_variable = "PORT"', "[request]", 'texts = "texts.jsonl"']
    path.write_text("\n".join([*lines, "answer_has = '\"length\": [1-9]'"]))
    code = first_look.check(["host"], Settings(service=read_service(path), ports={"host": free_port()}))
    said = capsys.readouterr().out
    if seconds < 0:  # there was no time for them
        assert code == 0
        assert "  the other 3 texts, of which 0 were sent in -1 s: all right\n" in said
    else:
        assert code == 1
        assert re.findall(r"^  text (\d+): wrong: the answer has no \"length\": \[1-9\] ", said, re.MULTILINE) == ["5"]
        assert "  the other 3 texts: 1 answered wrongly (numbers in texts.jsonl: 5)\n" in said
