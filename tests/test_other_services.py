"""Services that somebody else wrote: what is measured of a right one, and what is said of a wrong one, within 20 s."""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
import time
from datetime import UTC, datetime, timedelta
from io import BytesIO
from pathlib import Path

import pytest
from conftest import ROOT, free_port

from infra.deployments import host, ready
from infra.deployments.docker_engine import Engine
from infra.deployments.settings import Settings
from infra.deployments.table import BY_NAME, deployed, why_not
from infra.errors import DeploymentError
from infra.experiment.circumstances import changed_file
from servicefile.service_file import ServiceFile, read_service

APP = ROOT / "tests" / "apps" / "small_app.py"
IMAGE = "fourfold-small-app:test"
SOON_S = 20.0

WRONG = {
    "not found": (
        "POST /infer with status 404 Not Found: there is no such path; set path in [request]; its answer begins: "
        "no such page"
    ),
    "needs a login": "with status 401 Unauthorized: it needs a login; put it into headers in [request], or measure",
    "page": "it answers POST /infer with a web page, which begins: <!doctype html><title>Welcome</title>; set path",
    "late error": "with status 500 Internal Server Error: it fails; see what its log says, and whether body in "
    "[request] is what it expects; "
    "its answer begins: the model is broken",
    "redirects": "with status 302 Found: it redirects to /elsewhere; set path in [request] to where it answers",
    "other method": "with status 405 Method Not Allowed: it takes PUT there; set method in [request]",
    "dies": "ModuleNotFoundError: No module named 'flask'",
}


def service_of(folder: Path, mode: str, *lines: str) -> ServiceFile:
    path = folder / "service.toml"
    said = [f'command = "python {APP}"', f'image = "{IMAGE}"', *lines, "[environment]", f'MODE = "{mode}"']
    path.write_text("\n".join(said))
    return read_service(path)


@pytest.fixture
def small_image(engine: Engine, service_image: str, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The small app in an image that is made as most people make theirs."""
    folder = tmp_path_factory.mktemp("image")
    (folder / "app.py").write_bytes(APP.read_bytes())
    lines = [f"FROM {service_image}", "WORKDIR /srv", "USER root", "COPY app.py .", "EXPOSE 5000"]
    (folder / "Dockerfile").write_text("\n".join([*lines, 'CMD ["python", "app.py"]\n']))
    subprocess.run(["docker", "build", "--quiet", "--tag", IMAGE, str(folder)], check=True, capture_output=True)
    return IMAGE


@pytest.fixture
def own_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host, "STATE", tmp_path / "host.json")


@pytest.fixture(params=["host", pytest.param("docker", marks=pytest.mark.engine)])
def name(request: pytest.FixtureRequest, own_state: None) -> str:
    if request.param == "docker":
        request.getfixturevalue("small_image")
    return str(request.param)


def why_refused(name: str, service: ServiceFile, folder: Path) -> str:
    """What is said of a service that is wrong; it is said soon."""
    settings = Settings(service=service, ports={"host": free_port(), "docker": free_port()})
    began = time.monotonic()
    with pytest.raises(DeploymentError) as refused, deployed(name, settings, folder / name):
        pytest.fail("it was taken for a right one")
    assert time.monotonic() - began < SOON_S + 5  # removing it is no part of that
    return str(refused.value)


@pytest.mark.parametrize("mode", WRONG)
def test_a_service_that_answers_wrongly_is_refused_with_the_cause(
    name: str, mode: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ready, "WRONG_S", 1.0)  # other tests here wait as long as users do
    said = why_refused(name, service_of(tmp_path, mode, 'port_variable = "PORT"'), tmp_path)
    assert WRONG[mode] in said
    if mode != "dies":
        assert "says: listening on 0.0.0.0:" in said


def test_a_service_that_listens_on_another_port_is_told(name: str, tmp_path: Path) -> None:
    said = why_refused(name, service_of(tmp_path, "other port", 'port_variable = "PORT"'), tmp_path)
    where = "in the container" if name == "docker" else "on this machine"
    assert f"{where}, and not on port " in said
    assert "; set port = " in said
    if name == "docker":
        assert "the service listens on port 5001 in the container, and not on port 5000; set port = 5001 in" in said


@pytest.mark.engine
@pytest.mark.usefixtures("small_image")
def test_a_container_that_listens_on_loopback_is_told(tmp_path: Path) -> None:
    said = why_refused("docker", service_of(tmp_path, "loopback"), tmp_path)
    assert "the service listens on 127.0.0.1 port 5000 in the container, which nobody outside the container" in said
    assert 'app.run(host="0.0.0.0")' in said


@pytest.mark.engine
def test_an_image_for_another_machine_is_told(engine: Engine, tmp_path: Path) -> None:
    name = "fourfold-other-machine:test"
    elf = b"\x7fELF\x02\x01\x01" + bytes(9) + (2).to_bytes(2, "little") + (0xB7).to_bytes(2, "little") + bytes(100)
    archive = BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        about = tarfile.TarInfo("app")
        about.size, about.mode = len(elf), 0o755
        tar.addfile(about, BytesIO(elf))
    imported = ["docker", "import", "--platform", "linux/arm64", "--change", 'CMD ["/app"]', "-", name]
    subprocess.run(imported, input=archive.getvalue(), check=True, capture_output=True)
    try:
        path = tmp_path / "service.toml"
        path.write_text(f'image = "{name}"\n')
        said = why_refused("docker", read_service(path), tmp_path)
        assert "the image is for arm64, the engine's machine is " in said
    finally:
        engine.client.images.remove(name)


@pytest.mark.engine
def test_an_image_that_is_nowhere_is_told(engine: Engine, tmp_path: Path) -> None:
    path = tmp_path / "service.toml"
    path.write_text('image = "127.0.0.1:1/no-such-image"\n')
    began = time.monotonic()
    command = [sys.executable, "-m", "infra", "check", "--service", str(path), "--only", "docker"]
    looked = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert time.monotonic() - began < SOON_S
    assert looked.returncode == 1
    assert "docker run: not measured: image 127.0.0.1:1/no-such-image is not here, and its registry" in looked.stdout


def test_what_the_service_file_does_not_give_is_not_measured(tmp_path: Path) -> None:
    path = tmp_path / "service.toml"
    path.write_text('image = "x"\n')
    reason = why_not("host", Settings(service=read_service(path)))
    assert (
        reason
        == 'service.toml has no command for the host process; add one, such as command = "python app.py", to measure it'
    )
    path.write_text('command = "python app.py"\n')
    reason = why_not("docker", Settings(service=read_service(path)))
    if reason is not None and "no Docker engine" not in reason:
        assert reason.startswith("service.toml has neither image nor build, so there is nothing for a container to run")


def test_a_program_that_is_not_there_is_told(tmp_path: Path, own_state: None) -> None:
    path = tmp_path / "service.toml"
    path.write_text('command = "no-such-program serve"\n')
    expected = "there is no program no-such-program on this machine; install it, or set command in service.toml"
    said = why_refused("host", read_service(path), tmp_path)
    assert said == why_not("host", Settings(service=read_service(path))) == f"{expected}, and run again"
    own = tmp_path / "serve"
    own.write_text("no program\n")
    path.write_text('command = "./serve"\n')
    own.chmod(0o755)
    assert "no program" not in str(why_not("host", Settings(service=read_service(path))))
    said = why_refused("host", read_service(path), tmp_path)
    assert said == "the command of the host process can't be started (./serve: Exec format error); set command in " + (
        path.name
    )


@pytest.mark.engine
@pytest.mark.usefixtures("small_image", "own_state")
@pytest.mark.parametrize("name", ["host", "docker", "compose"])
def test_a_right_one_is_taken_and_its_metrics_file_has_the_assignments_name(name: str, tmp_path: Path) -> None:
    service = service_of(tmp_path, "right", 'port_variable = "PORT"')
    port = free_port()
    settings = Settings(service=service, ports={BY_NAME[name].facts.kind: port})
    with deployed(name, settings, tmp_path / name) as running:
        (file,) = running.service.copy_metrics(tmp_path)
    assert (
        file.name
        == {
            "host": "system_inference_metrics.csv",
            "docker": "docker_system_inference_metrics.csv",
            "compose": "compose_inference_metrics.csv",
        }[name]
    )
    assert file.read_text().count("\n") == 1  # of the request that showed that it is ready


def test_a_service_that_can_not_be_told_its_port_says_how_it_could(tmp_path: Path, own_state: None) -> None:
    service = service_of(tmp_path, "right")
    reason = why_not("host", Settings(service=service, ports={"host": 5999}))
    assert reason is not None
    assert reason.startswith("nothing tells the service to use port 5999: add the variable by which it takes its port")
    told = service_of(tmp_path, "right", 'port_variable = "PORT"')
    assert why_not("host", Settings(service=told, ports={"host": free_port()})) is None


def test_a_service_whose_files_have_changed_is_another_one(tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text("print()\n")
    service = service_of(tmp_path, "right")
    later = datetime.now(UTC) + timedelta(seconds=60)
    assert changed_file(service, later) is None
    os.utime(tmp_path / "app.py", times=(later.timestamp() + 10, later.timestamp() + 10))
    assert changed_file(service, later) == tmp_path / "app.py"
    (tmp_path / "app.py").rename(tmp_path / "requests.csv")  # a service may write its own
    assert changed_file(service, later) is None
