"""What pip installs: one package, whose command works far from the checkout and writes only where it was called."""

from __future__ import annotations

import argparse
import email
import os
import re
import subprocess
import sys
import sysconfig
import tomllib
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import ROOT

from fourfold.command import OF_INFRA
from fourfold.in_container import second
from inference.engines import export
from inference.model_choice import BUNDLED_MODEL, ModelChoice, choose, weights_sha256
from infra.__main__ import _parser
from runfiles.places import FOLDER_VARIABLE

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
    (made,) = folder.iterdir()
    return made


@pytest.fixture(scope="module")
def python(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Python that has what is in the wheel, as pip puts it there, and the packages of this one."""
    venv = tmp_path_factory.mktemp("venv")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(venv)], check=True)
    packages = Path(sysconfig.get_path("purelib", "venv", {"base": str(venv)}))
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(packages)
    (packages / "others.pth").write_text(sysconfig.get_path("purelib"))
    return venv / "bin" / "python"


@pytest.fixture
def fourfold(python: Path, tmp_path: Path) -> Run:
    """The command, in an empty folder that is the user's, with no Docker engine."""
    (tmp_path / "mine").mkdir()
    environment = os.environ | {"DOCKER_HOST": f"unix://{tmp_path}/nobody.sock"}

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [str(python), "-m", "fourfold", *arguments]
        return subprocess.run(
            command, cwd=tmp_path / "mine", env=environment, capture_output=True, text=True, check=False
        )

    return run


def files_in(package: Path) -> dict[Path, int]:
    """Each file with the time of its last change, without what Python compiles."""
    found = (path for path in package.rglob("*") if path.is_file() and path.suffix != ".pyc")
    return {path: path.stat().st_mtime_ns for path in found}


def test_the_wheel_has_one_package_with_the_project_in_it(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    assert {name.partition("/")[0] for name in names} == {"fourfold", "fourfold-0.1.0.dist-info"}
    project = {name.removeprefix("fourfold/project/") for name in names if name.startswith("fourfold/project/")}
    copied = re.findall(r"^COPY (?!--from)(\S+)", (ROOT / "Dockerfile").read_text(encoding="utf-8"), re.MULTILINE)
    for path in ("Dockerfile", ".dockerignore", "docker-compose.yml", "stack.yml", "plans/default.toml", *copied):
        assert any(Path(name).match(path) or name.startswith(f"{path}/") for name in project), path
    assert not [name for name in project if name.startswith(("tests", "docs")) or "__pycache__" in name]


def test_the_package_needs_what_the_requirements_files_say_and_torch_only_on_request(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        about = email.message_from_bytes(archive.read("fourfold-0.1.0.dist-info/METADATA"))
    needed = [re.split(r"[<>=;]", line)[0] for line in about.get_all("Requires-Dist") or () if "extra ==" not in line]
    extra = [re.split(r"[<>=;]", line)[0] for line in about.get_all("Requires-Dist") or () if "extra ==" in line]
    assert {"locust", "docker", "onnxruntime", "pandas"} <= set(needed)
    assert set(extra) == {"torch", "transformers", "onnx", "safetensors"}
    assert not set(extra) & set(needed)


def test_the_installed_command_works_without_a_checkout_and_leaves_its_own_folder_alone(
    fourfold: Run, python: Path, tmp_path: Path
) -> None:
    package = next(python.parents[1].glob("lib/python*/site-packages/fourfold"))
    before = files_in(package)
    done = fourfold("doctor")
    assert (done.returncode, done.stderr) == (0, "")
    assert re.search(r"^docker +docker run: can't run: no Docker engine", done.stdout, re.MULTILINE), done.stdout
    assert "make " not in done.stdout
    assert [path.name for path in (tmp_path / "mine").iterdir()] == [".fourfold"]
    done = fourfold("report", str(ROOT / "examples" / "mesh-keep-alive"), "--output", "page.md", "--format", "markdown")
    assert (done.returncode, done.stderr) == (0, "")
    assert (tmp_path / "mine" / "page.md").is_file()
    done = fourfold("run", "plans/kill_one.toml", "--set", "users=0")  # a plan that comes with it
    assert done.returncode == 2
    assert "users" in done.stderr
    assert files_in(package) == before


def test_its_locustfiles_find_the_project(python: Path, tmp_path: Path) -> None:
    locustfiles = next(python.parents[1].glob("lib/python*/site-packages/fourfold/project/locustfiles"))
    command = [str(python), "-m", "locust", "-f", str(locustfiles / "single_pass.py"), "--list"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_it_tells_its_version_and_what_it_has_not(fourfold: Run) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    versions = re.findall(r"^## \[(.+?)\]", changelog, re.MULTILINE)
    assert versions[:2] == ["Unreleased", project["version"]]
    assert re.search(rf"^## \[{re.escape(project['version'])}\] - \d{{4}}-\d\d-\d\d$", changelog, re.MULTILINE)
    assert fourfold("--version").stdout == f"fourfold {project['version']}\n"
    done = fourfold("bench")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error: there is no command 'bench'; choose from run, ")


def test_the_command_has_each_command_of_infra() -> None:
    (commands,) = (each for each in _parser()._actions if isinstance(each, argparse._SubParsersAction))
    assert set(OF_INFRA) == set(commands.choices)


def test_nothing_is_written_to_the_project_s_folder() -> None:
    for path in [*(ROOT / "infra").rglob("*.py"), *(ROOT / "analysis").rglob("*.py")]:
        assert not re.search(r'ROOT / "(results|\.fourfold)', path.read_text(encoding="utf-8")), path


def test_in_a_checkout_the_work_lies_in_the_checkout() -> None:
    code = "from runfiles.places import *; print(WORK == ROOT, RESULTS, INFRA, sep='|')"
    environment = os.environ | {FOLDER_VARIABLE: "/elsewhere"}
    said = subprocess.check_output([sys.executable, "-c", code], cwd=ROOT, env=environment, text=True)
    assert said == f"True|{ROOT / 'results'}|.venv/bin/python -m infra\n"


def test_without_torch_the_bundled_model_answers_as_it_comes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    for module in ("inference.model_choice", "inference.engines.export"):
        monkeypatch.setattr(f"{module}.missing_exporter", lambda: ["torch"])
    said: list[str] = []
    choice = choose("auto", said.append)
    assert choice == ModelChoice("bundled", "bundled", BUNDLED_MODEL, weights_sha256(BUNDLED_MODEL))
    assert len(said) == 1
    assert "pip install 'fourfold[torch]'" in said[0]
    # After a training, or a change of the form: python -m inference.fetch FOLDER, and copy FOLDER/onnx_engine here.
    assert export.exported(choice) == ROOT / "inference" / "bundled_export"


def inspected(**more: Any) -> dict[str, Any]:
    mounts = [
        {"Type": "bind", "Source": "/var/run/docker.sock", "Destination": "/var/run/docker.sock", "RW": True},
        {"Type": "bind", "Source": "/home/me/out", "Destination": "/results", "RW": True},
        {"Type": "volume", "Name": "plans", "Source": "/var/lib/x", "Destination": "/plans", "RW": False},
    ]
    config = {"Env": ["TZ=UTC"], "WorkingDir": "", "User": "7:8", "Tty": True, "OpenStdin": False} | more
    return {"Image": "sha256:1", "Mounts": mounts, "Config": config, "HostConfig": {"GroupAdd": ["99"]}}


def test_the_second_container_of_the_tool_sees_the_machine_and_the_same_folders() -> None:
    words = second(inspected(), ["run", "--only", "docker"])
    assert words is not None
    text = " ".join(words)
    assert text.endswith(
        "--env TZ=UTC --env FOURFOLD_FOLDER=/home/me/out --env FOURFOLD_IN_CONTAINER=1 "
        "--workdir /home/me sha256:1 run --only docker"
    )
    for part in (
        "--network host --pid host --cgroupns host",
        "--volume /home/me/out:/home/me/out --volume /var/run/docker.sock:/var/run/docker.sock:rw",
        "--volume plans:/plans:ro",
        "--group-add 99 --user 7:8 --tty",
    ):
        assert part in text
    assert "--interactive" not in words
    assert "--workdir /mine" in " ".join(second(inspected(WorkingDir="/mine"), []) or ())


def test_without_a_folder_for_results_the_tool_starts_nothing() -> None:
    first = inspected()
    first["Mounts"] = first["Mounts"][:1]
    assert second(first, ["run"]) is None
