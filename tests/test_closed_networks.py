"""Mirrors of a closed network: this machine's settings reach the build, and no password is left anywhere."""

from __future__ import annotations

import base64
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from conftest import ROOT, free_port
from test_deployment_files import instructions

from infra.build import pip_conf
from infra.deployments.docker_engine import Engine
from infra.deployments.images import build_image
from infra.install import _has_torch
from servicefile.service_file import read_service

LOGIN = "user:pass%2Fword"
SETTINGS = (
    "PIP_",
    "HF_",
    "FOURFOLD_",
    "REQUESTS_CA_",
    "SSL_CERT_",
    "HTTP_",
    "HTTPS_",
    "ALL_",
    "NO_",
    "http",
    "no_",
    "all_",
)


def clean() -> dict[str, str]:
    """This process's environment without the settings of a closed network."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(SETTINGS)}
    return environment | {"PIP_CONFIG_FILE": os.devnull}


DOCKER = """#!/bin/sh
for part in "$@"; do
  case $part in id=*) cp "${part#*src=}" FOLDER/"$(echo "$part" | sed 's/id=\\([^,]*\\),.*/\\1/')" ;; esac
  echo "$part"
done >FOLDER/arguments
env >FOLDER/environment
"""
"""A docker command that records its input."""


@pytest.fixture
def noted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder where the fake docker command records its arguments, its environment and the secrets."""
    folder, programs = tmp_path / "noted", tmp_path / "bin"
    folder.mkdir()
    programs.mkdir()
    (programs / "docker").write_text(DOCKER.replace("FOLDER", str(folder)))
    (programs / "docker").chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
    return folder


@contextmanager
def index(*packages: str) -> Iterator[tuple[str, list[str]]]:
    """A package index that asks for a login: its URL without the login, and the paths that were asked with it."""
    asked: list[str] = []
    wanted = "Basic " + base64.b64encode(b"user:pass/word").decode()

    class Index(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            known = self.headers.get("Authorization") == wanted
            name = self.path.strip("/").rpartition("/")[2]
            if known:
                asked.append(self.path)
            self.send_response(401 if not known else 200 if name in packages else 404)
            if not known:
                self.send_header("WWW-Authenticate", "Basic")
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            if known and name in packages:
                self.wfile.write(f'<a href="{name}-2.9-py3-none-any.whl">{name}-2.9-py3-none-any.whl</a>'.encode())

        def log_message(self, format: str, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Index) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"127.0.0.1:{server.server_address[1]}/simple", asked
        finally:
            server.shutdown()
            thread.join()


def build(environment: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "infra.build", *arguments]
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False, timeout=120)


def test_where_nothing_is_set_the_image_is_built_as_by_docker_build_alone(noted: Path) -> None:
    done = build(clean(), "--tag", "x")
    assert (done.returncode, done.stderr) == (0, "")
    assert (noted / "arguments").read_text().splitlines() == ["build", "--tag", "x", str(ROOT)]


@pytest.mark.parametrize("from_file", [False, True], ids=["variables", "file"])
def test_the_settings_of_all_four_mirrors_reach_the_build_and_no_password_its_command_line(
    noted: Path, tmp_path: Path, from_file: bool
) -> None:
    certificates, config = tmp_path / "company.pem", tmp_path / "pip.conf"
    certificates.write_text("certificates\n")
    mirrors = {
        "FOURFOLD_BASE_IMAGE": "mirror.example/python:3.12-slim",
        "FOURFOLD_TORCH_INDEX": f"https://{LOGIN}@mirror.example/torch",
        "HF_ENDPOINT": "https://mirror.example/hub",
        "HF_TOKEN": "hf_pass'word",
    }
    if from_file:
        config.write_text(
            f"[global]\nindex-url = https://{LOGIN}@mirror.example/simple\ncert = {certificates}\n"
            "[install]\nextra-index-url =\n  https://mirror.example/a\n  https://mirror.example/b\n"
        )
        mirrors["PIP_CONFIG_FILE"] = str(config)
    else:
        mirrors["PIP_INDEX_URL"] = f"https://{LOGIN}@mirror.example/simple"
        mirrors["PIP_EXTRA_INDEX_URL"] = "https://mirror.example/a https://mirror.example/b"
        mirrors["PIP_CERT"] = str(certificates)
    done = build(clean() | mirrors)
    assert (done.returncode, done.stderr) == (0, "")
    assert (noted / "pip").read_text() == (
        f"[global]\nindex-url = https://{LOGIN}@mirror.example/simple\n"
        "extra-index-url = https://mirror.example/a https://mirror.example/b\n"
    )
    assert (noted / "ca").read_text() == "certificates\n"
    assert (noted / "torch-index").read_text() == mirrors["FOURFOLD_TORCH_INDEX"]
    said = subprocess.run(
        ["sh", "-c", '. "$1"; echo "$HF_TOKEN $HF_ENDPOINT"', "-", noted / "hub"], capture_output=True, check=True
    )
    assert said.stdout.decode() == f"{mirrors['HF_TOKEN']} {mirrors['HF_ENDPOINT']}\n"
    arguments = (noted / "arguments").read_text()
    assert "python:3.12-slim=docker-image://mirror.example/python:3.12-slim\n" in arguments
    assert "pass" not in arguments
    assert not list(Path(arguments.partition("src=")[2].split("\n")[0]).parent.glob("*"))


def test_an_experiment_builds_with_the_same_settings(
    noted: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIP_INDEX_URL", "https://mirror.example/simple")
    monkeypatch.delenv("INFERENCE_MODEL", raising=False)
    build_image(read_service(), tmp_path / "log", lambda line: None)
    assert "index-url = https://mirror.example/simple\n" in (noted / "pip").read_text()


def test_what_holds_on_this_machine_alone_stays_here() -> None:
    here = {
        "PIP_EXTRA_INDEX_URL": "file:///srv/simple /srv/other",
        "PIP_FIND_LINKS": "/srv/wheels",
        "PIP_PROXY": "http://127.0.0.1:3128",
        "PIP_CONSTRAINT": "/etc/constraints.txt",
        "PIP_DEFAULT_TIMEOUT": "180",
    }
    assert pip_conf(here) == ""
    both = here | {"PIP_EXTRA_INDEX_URL": "file:///srv/simple https://mirror.example/a", "PIP_NO_INDEX": "1"}
    assert pip_conf(both) == "[global]\nextra-index-url = https://mirror.example/a\ndefault-timeout = 180\n"


def test_a_proxy_reaches_the_build_unless_it_is_at_loopback(noted: Path) -> None:
    with index() as (address, _):  # a proxy that accepts connections, or it would be left out
        port = address.partition("/")[0].partition(":")[2]
        build(clean() | {"HTTPS_PROXY": f"http://127.0.0.1:{port}", "NO_PROXY": "mirror.example"})
        assert "--build-arg" not in (noted / "arguments").read_text()
        build(clean() | {"HTTPS_PROXY": f"http://user:password@0.0.0.0:{port}", "NO_PROXY": "mirror.example"})
    arguments = (noted / "arguments").read_text()
    assert arguments.startswith("build\n--build-arg\nHTTPS_PROXY\n--build-arg\nNO_PROXY\n")
    assert f"HTTPS_PROXY=http://user:password@0.0.0.0:{port}\n" in (noted / "environment").read_text()


def test_make_image_builds_so_without_a_venv_or_pip(noted: Path, tmp_path: Path) -> None:
    said = subprocess.run(["make", "--dry-run", "image"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert "-m infra.build --tag llm-inference-image" in said
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(tmp_path / "bare")], check=True)
    command = [str(tmp_path / "bare" / "bin" / "python"), "-m", "infra.build", "--tag", "x"]
    done = subprocess.run(command, cwd=ROOT, env=clean(), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "warning: this Python has no pip that tells its settings" in done.stderr
    assert (noted / "arguments").read_text().splitlines()[0] == "build"


@pytest.mark.parametrize("file", ["Dockerfile", "tests/light/Dockerfile"])
def test_each_step_that_downloads_takes_its_settings_from_secrets(file: str) -> None:
    steps = [rest for keyword, rest in instructions((ROOT / file).read_text()) if keyword == "RUN"]
    for step in steps:
        secrets = {word for word in step.split() if word.startswith("--mount=")}
        if "pip install" in step:
            assert "--mount=type=secret,id=pip,target=/etc/pip.conf" in secrets
        if "inference.fetch" in step:
            assert "--mount=type=secret,id=hub" in secrets
        if "pip install" in step or "inference.fetch" in step:
            assert "--mount=type=secret,id=ca" in secrets
        else:
            assert not secrets
    assert not (ROOT / file).read_text().startswith("# syntax")  # which would be fetched from Docker Hub


def test_an_index_of_torch_is_asked_with_its_login_and_never_waited_for() -> None:
    environment = clean() | {"PIP_FIND_LINKS": str(ROOT), "PIP_EXTRA_INDEX_URL": "http://127.0.0.1:1/simple"}
    with index("torch") as (address, asked):
        assert _has_torch(f"http://{LOGIN}@{address}", environment)
        assert asked == ["/simple/torch/"]
        assert not _has_torch(f"http://user:wrong@{address}", environment)
    assert not _has_torch(f"http://127.0.0.1:{free_port()}/simple", environment)


def test_doctor_looks_for_the_base_image_that_is_chosen() -> None:
    command = [sys.executable, "-c", "from infra.deployments.preflight import BASE_IMAGE; print(BASE_IMAGE)"]
    for chosen, expected in (("mirror.example/python", "mirror.example/python"), ("", "python:3.12-slim")):
        environment = clean() | {"FOURFOLD_BASE_IMAGE": chosen}
        said = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True).stdout
        assert said.strip() == expected


@pytest.mark.engine
def test_a_real_build_asks_the_index_of_pips_settings_with_its_login(engine: Engine, service_image: str) -> None:
    with index() as (address, asked):
        mirror = {"PIP_INDEX_URL": f"http://{LOGIN}@{address}"}
        done = build(
            clean() | mirror, "--target", "requirements", "--network", "host", "--no-cache", "--progress", "plain"
        )
    assert done.returncode == 1  # the index has nothing, and what the base image's own pip.conf names is not asked
    assert asked
    assert asked[0].startswith("/simple/")
    assert "No matching distribution found" in done.stderr
    assert "pass" not in done.stdout + done.stderr


@pytest.mark.engine
def test_a_real_build_starts_from_the_base_image_that_is_chosen(engine: Engine) -> None:
    chosen = f"127.0.0.1:{free_port()}/python:3.12-slim"
    done = build(clean() | {"FOURFOLD_BASE_IMAGE": chosen}, "--target", "requirements", "--progress", "plain")
    assert done.returncode == 1
    assert chosen in done.stderr
