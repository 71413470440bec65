"""Settings of other projects, in variables and files, do not change an experiment, latency_test.sh or set-up."""

from __future__ import annotations

import ast
import csv
import hashlib
import http.server
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import sysconfig
import threading
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from conftest import ROOT, Service, free_port

from infra import environment
from infra.deployments.docker_engine import Engine
from infra.deployments.probe import get
from infra.experiment import circumstances
from infra.install import PTH
from runfiles.records import GitState

DEAD_PROXY = "http://127.0.0.1:9"
PROXIES = {
    name: DEAD_PROXY for scheme in ("http", "https", "all") for name in (f"{scheme}_proxy", f"{scheme}_PROXY".upper())
}
LOCUST_CONF = "users = 50\nspawn-rate = 10\nrun-time = 1s\ntags = other\nmaster = true\nexpect-workers = 3\n"
PIP_CONF = (
    "[global]\nquiet = 2\nrequire-virtualenv = true\n[install]\nuser = true\ntarget = {0}/target\nno-deps = true\n"
)


@pytest.fixture
def hostile(tmp_path: Path) -> dict[str, str]:
    """A shell with the settings of many other projects."""
    home, foreign = tmp_path / "home", tmp_path / "foreign"
    (home / ".config" / "pip").mkdir(parents=True)
    (home / ".config" / "pip" / "pip.conf").write_text(PIP_CONF.format(tmp_path))
    (home / ".locust.conf").write_text(LOCUST_CONF)
    (tmp_path / "compose.yml").write_text("services: {}\n")
    (tmp_path / "bashenv").write_text("exit 9\n")
    foreign.mkdir()
    for name in ("analysis", "infra", "runfiles", "locust", "numpy", "docker"):
        (foreign / f"{name}.py").write_text(f"raise SystemExit('a foreign {name}')\n")
    known = {
        name: os.environ[name] for name in ("PATH", "TMPDIR", "XDG_CACHE_HOME", "DOCKER_HOST") if name in os.environ
    }
    locust = {
        "TAGS": "other",
        "USERS": "50",
        "RUN_TIME": "1s",
        "MASTER": "1",
        "SKIP_MONKEY_PATCH": "1",
        "PROCESSES": "4",
    }
    pip = {"USER": "1", "REQUIRE_VIRTUALENV": "1", "PREFIX": f"{tmp_path}/prefix", "DRY_RUN": "1", "QUIET": "3"}
    pip |= {"PYTHON": "/nowhere/python", "REQUIREMENT": "/nowhere.txt", "ROOT": f"{tmp_path}/root"}
    python = {"SAFEPATH": "1", "OPTIMIZE": "2", "PATH": str(foreign), "WARNINGS": "error", "UTF8": "0"}
    python |= {"IOENCODING": "ascii", "COERCECLOCALE": "0", "STARTUP": "/nowhere", "DEVMODE": "1"}
    compose = {"PROJECT_NAME": "other", "FILE": f"{tmp_path}/compose.yml", "PROFILES": "x", "ENV_FILES": "/nowhere.env"}
    others = {
        **{
            "HOME": str(home),
            "LC_ALL": "C",
            "CDPATH": "/usr:/",
            "BASH_ENV": f"{tmp_path}/bashenv",
            "VIRTUAL_ENV": "/no",
        },
        **{"HOST": "192.0.2.1", "PORT": "1", "METRICS_LOG_FILE": "/nowhere/x.csv", "REPLICA_NAME": "other"},
        **{"WEB_CONCURRENCY": "7", "OMP_NUM_THREADS": "1", "GIT_DIR": "/nowhere", "GIT_WORK_TREE": "/nowhere"},
        **{"DOCKER_DEFAULT_PLATFORM": "linux/s390x", "BUILDX_BUILDER": "nowhere", "DOCKERHUB_USER": "other"},
        **{"SERVICE_USER": "7:7", "METRICS_FOLDER": "/nowhere", "CPU_LIMIT": "0.1", "PUBLISHED_PORT": "1"},
    }
    named = {"LOCUST": locust, "PIP": pip, "COMPOSE": compose}
    prefixed = {f"{prefix}_{name}": value for prefix, values in named.items() for name, value in values.items()}
    return known | others | PROXIES | prefixed | {f"PYTHON{name}": value for name, value in python.items()}


def infra(*arguments: str, env: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    """``python -m infra``, run directly as README shows it."""
    if not Path(sysconfig.get_path("purelib"), PTH).is_file():
        pytest.skip(f"this .venv has no {PTH}, as set-up did not make it; run make setup")
    bundled = {"INFERENCE_MODEL": str(ROOT / "inference" / "bundled_model")}
    command = [sys.executable, "-m", "infra", *arguments]
    return subprocess.run(
        command, cwd=ROOT, env=dict(env) | bundled, capture_output=True, encoding="utf-8", timeout=180, check=False
    )


def test_an_experiment_depends_on_its_plan_alone(hostile: dict[str, str], tmp_path: Path) -> None:
    results = tmp_path / "results"
    quick = ["--set", "rounds=1", "seconds=3", "warm_up_s=1", "--port", f"host={free_port()}"]
    run = infra("run", "--only", "host", *quick, "--results", str(results), env=hostile)
    assert run.returncode in (0, 3), run.stdout + run.stderr  # 3: so short a run is nothing to rely on
    assert "Traceback" not in run.stdout + run.stderr
    (folder,) = results.iterdir()
    journal = json.loads((folder / "experiment.json").read_text())
    (measured,) = journal["deployments"][0]["rounds"]
    assert (measured["status"], measured["runs"]) == ("measured", ["single_pass", "load"])
    assert GitState.from_json(journal["git"]) == circumstances.git_state()
    with (folder / "host/round-1/single_pass_requests.csv").open(newline="") as file:
        passes = [(row["block"], row["text_id"]) for row in csv.DictReader(file)]
    assert len(passes) >= 2 * 160  # it is repeated
    assert passes == [(str(number // 160 + 1), str(number % 160 + 1)) for number in range(len(passes))]
    load = json.loads((folder / "host/round-1/load_run.json").read_text())
    assert load["users"] == 8
    assert load["ended_by"] == "all blocks"
    assert load["service"]["replica"] == "host"
    assert load["requests"] > 30
    assert (folder / "report.html").stat().st_size > 100_000


@pytest.mark.engine
@pytest.mark.usefixtures("service_image")
def test_compose_depends_on_the_settings_alone(engine: Engine, hostile: dict[str, str]) -> None:
    port = free_port()
    try:
        up = infra("up", "compose", "--port", f"compose={port}", env=hostile)
        assert up.returncode == 0, up.stdout + up.stderr
        assert get(f"http://127.0.0.1:{port}", "/health", 2).status == 200
        (container,) = engine.client.containers.list(filters={"label": "com.docker.compose.service=llm-inference"})
        assert container.labels["com.docker.compose.project"] == "fourfold-bench"
        assert not container.attrs["HostConfig"]["NanoCpus"]
    finally:
        down = infra("down", "compose", env=hostile)
    assert "removed: Compose project fourfold-bench" in down.stdout, down.stdout + down.stderr


@pytest.mark.parametrize("shell", ["dash", "busybox sh", "bash --posix"])
def test_latency_test_runs_in_each_shell(
    shared_service: Service, hostile: dict[str, str], tmp_path: Path, shell: str
) -> None:
    """Started through a link, from another folder, with another project's settings of Locust."""
    if shutil.which(shell.split(maxsplit=1)[0]) is None:
        pytest.skip(f"there is no {shell} here")
    link = tmp_path / "a link to it"
    link.symlink_to(ROOT / "infra" / "latency_test.sh")
    command = [*shell.split(), link.name, "127.0.0.1", str(shared_service.port)]
    del hostile["BASH_ENV"]  # the shell itself reads it, before the script can do anything
    done = subprocess.run(command, cwd=tmp_path, env=hostile, capture_output=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    queries = [line for line in done.stdout.decode().splitlines() if line.startswith("Query ")]
    assert queries == [f"Query {number}" for number in range(1, 161)]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["http://127.0.0.1", "5000"], "HOST is a name or an address, without http://"),
        (["127.0.0.1", "99999"], "'99999' is not a port"),
        (["127.0.0.1:5000", "5000"], "HOST is a name or an address, and nothing else"),
    ],
)
def test_latency_test_refuses_what_is_no_host_and_port(arguments: list[str], expected: str) -> None:
    command = ["sh", str(ROOT / "infra" / "latency_test.sh"), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2
    assert expected in done.stderr
    assert "Traceback" not in done.stderr


def test_latency_test_that_is_interrupted_fails(shared_service: Service) -> None:
    command = ["sh", str(ROOT / "infra" / "latency_test.sh"), "127.0.0.1", str(shared_service.port)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        assert process.stdout is not None
        while not process.stdout.readline().startswith("Query 5"):
            assert process.poll() is None
        process.send_signal(signal.SIGINT)
        assert "Query 160\n" not in process.stdout.read()
        assert process.wait(30) == 128 + signal.SIGINT


@pytest.fixture
def answering_proxy(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """A proxy that the usual variables name and that refuses every request. Gives the requests that it got."""
    asked: list[str] = []

    class Proxy(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_error(502)

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Proxy) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        for name in PROXIES:
            monkeypatch.setenv(name, f"http://127.0.0.1:{server.server_port}")
        yield asked
        server.shutdown()


def test_no_question_to_the_service_goes_through_a_proxy(
    shared_service: Service, answering_proxy: list[str], tmp_path: Path
) -> None:
    assert get(shared_service.url, "/health", 2).status == 200
    command = [sys.executable, "-m", "locust", "-f", str(ROOT / "locustfiles" / "single_pass.py"), "--headless"]
    command += ["--host", shared_service.url, "--csv", "run"]
    subprocess.run(command, cwd=tmp_path, capture_output=True, timeout=60, check=True)
    record = json.loads((tmp_path / "run_run.json").read_text())
    assert record["service"]["replica"] == "test-replica"
    assert (record["failures"], answering_proxy) == (0, [])


def test_a_proxy_that_answers_is_for_downloads_alone(answering_proxy: list[str], tmp_path: Path) -> None:
    environment.forget_dead_proxies()
    assert answering_proxy == []
    for kind in (environment.for_build(), environment.for_service()):
        assert set(PROXIES) <= set(kind)
    for kind in (environment.for_docker(), environment.for_python(), environment.for_load(tmp_path)):
        assert not set(PROXIES) & set(kind)


def test_a_dead_proxy_is_left_out_with_a_warning(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in PROXIES:
        monkeypatch.setenv(name, DEAD_PROXY)
    environment.forget_dead_proxies()
    assert not set(PROXIES) & set(os.environ)
    assert capsys.readouterr().err.count("the proxy 127.0.0.1:9 (http_proxy) does not answer") == 1


def test_what_is_not_on_the_list_reaches_no_process(
    monkeypatch: pytest.MonkeyPatch, hostile: dict[str, str], tmp_path: Path
) -> None:
    for name, value in hostile.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("INFERENCE_QUEUE", "7")
    monkeypatch.delenv("DOCKER_CONFIG", raising=False)
    monkeypatch.setenv("DOCKER_HOST", "unix:///somewhere.sock")
    service, load, build = environment.for_service(), environment.for_load(tmp_path), environment.for_build()
    foreign = ("LOCUST_", "PIP_", "COMPOSE_", "GIT_", "OMP_", "WEB_", "METRICS_", "HOST", "PORT", "LC_", "BASH_ENV")
    for kind in (service, load, build, environment.for_docker(), environment.for_python()):
        assert not [name for name in kind if name.startswith(foreign)]
        assert [name for name in kind if name.startswith("PYTHON")] in ([], ["PYTHONUTF8"])
    assert service["INFERENCE_QUEUE"] == "7"
    assert (load["HOME"], load["DOCKER_CONFIG"]) == (str(tmp_path), f"{hostile['HOME']}/.docker")
    assert load["DOCKER_HOST"] == build["DOCKER_HOST"] == "unix:///somewhere.sock"
    assert build["BUILDX_BUILDER"] == "default"
    assert "DOCKER_DEFAULT_PLATFORM" not in build


def test_git_is_asked_of_this_project_alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    expected = circumstances.git_state()
    for name in ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_EXTERNAL_DIFF"):
        monkeypatch.setenv(name, "/nowhere")
    assert circumstances.git_state() == expected
    monkeypatch.undo()
    inside = tmp_path / "a copy without .git, in a repository"
    inside.mkdir()
    subprocess.run(["git", "init", "-q", str(tmp_path)], check=True)
    commit = ["git", "-c", "user.name=x", "-c", "user.email=x@localhost", "commit", "-q", "--allow-empty", "-m", "x"]
    subprocess.run(commit, cwd=tmp_path, check=True)
    for module in (environment, circumstances):
        monkeypatch.setattr(module, "ROOT", inside)
    assert circumstances.git_state() is None


def wheel(folder: Path, name: str, *needs: str) -> None:
    """A package with one module that says its name."""
    info = f"{name}-1.0.dist-info"
    metadata = "".join(
        [f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n", *(f"Requires-Dist: {need}\n" for need in needs)]
    )
    with zipfile.ZipFile(folder / f"{name}-1.0-py3-none-any.whl", "w") as file:
        file.writestr(f"{name}.py", f"SAID = 'this is {name}'\n")
        file.writestr(f"{info}/METADATA", metadata)
        file.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        file.writestr(f"{info}/RECORD", "")


def test_set_up_installs_into_its_own_venv_whatever_pip_is_told_elsewhere(
    hostile: dict[str, str], tmp_path: Path
) -> None:
    project, wheels = tmp_path / "a project", tmp_path / "wheels"
    for name in ("__init__.py", "environment.py", "install.py", "paths.py", "setup.sh"):
        (project / "infra").mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / "infra" / name, project / "infra" / name)
    shutil.copy(ROOT / "addresses.py", project)
    (project / "runfiles").mkdir()
    for name in ("__init__.py", "places.py"):
        shutil.copy(ROOT / "runfiles" / name, project / "runfiles" / name)
    (project / "inference").mkdir()
    (project / "inference" / "requirements.txt").write_text("")
    (project / "requirements.txt").write_text("tiny\n")
    (project / "analysis.py").write_text("import tiny, needed\nprint(tiny.SAID, needed.SAID)\n")
    wheels.mkdir()
    wheel(wheels, "tiny", "needed")
    wheel(wheels, "needed")
    # Where packages come from is the user's to say.
    config = Path(hostile["HOME"], ".config/pip/pip.conf")
    config.write_text(f"{config.read_text()}no-index = true\nfind-links = {wheels}\n")
    for name in ("tiny", "needed"):
        Path(hostile["PYTHONPATH"], f"{name}.py").write_text("raise SystemExit('foreign')\n")
    base = hostile | {"PYTHON": getattr(sys, "_base_executable", sys.executable)}
    made = subprocess.run(
        ["sh", str(project / "infra" / "setup.sh"), "requirements.txt"],
        cwd=tmp_path,
        env=base,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert made.returncode == 0, made.stdout + made.stderr
    assert "Successfully installed needed-1.0 tiny-1.0" in made.stdout
    said = subprocess.run(
        [str(project / ".venv" / "bin" / "python"), "-m", "analysis"],
        cwd=project,
        env=hostile,
        capture_output=True,
        text=True,
        check=False,
    )
    assert said.stdout == "this is tiny this is needed\n", said.stderr
    assert not [name for name in ("target", "prefix", "root") if (tmp_path / name).exists()]


def test_of_pip_s_settings_only_where_packages_come_from_is_kept() -> None:
    said = "\n".join(
        [
            ":env:.user='1'",
            ":env:.extra-index-url='https://two.example/simple'",
            "global.extra-index-url='https://one.example/simple'",
            "global.index-url='https://mirror.example/simple'",
            "global.target='/elsewhere'",
            "install.index-url='https://other.example/simple'",
            "install.trusted-host='\\nmirror.example\\nother.example'",
            "list.format='json'",
        ]
    )
    assert environment.pip_variables(said) == {
        "PIP_INDEX_URL": "https://other.example/simple",
        "PIP_EXTRA_INDEX_URL": "https://two.example/simple",
        "PIP_TRUSTED_HOST": "mirror.example\nother.example",
    }


def test_the_list_is_documented_as_it_is() -> None:
    text = (ROOT / "docs" / "environment.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (`.+`) \| (.+) \| (.+) \|$", text, re.MULTILINE)
    expected = [
        (", ".join(f"`{name}`" for name in row.names.split()), row.to, row.reason) for row in environment.PASSED
    ]
    assert rows == expected
    rows_of_pip = re.findall(r"^\| (`.+`) \| ([^|]+) \|$", text[text.index("## pip") :], re.MULTILINE)
    assert rows_of_pip == [(f"`{name}`", reason) for name, reason in environment.PIP_SETTINGS.items()]


@pytest.mark.parametrize("setting", ["core.autocrlf=true", "core.eol=crlf"])
def test_a_clone_has_the_same_bytes_whatever_git_is_told_of_line_ends(tmp_path: Path, setting: str) -> None:
    if not (ROOT / ".git").exists():
        pytest.skip("this is a copy without .git")
    clone = tmp_path / "clone"
    subprocess.run(["git", "clone", "-q", "--no-hardlinks", "-c", setting, str(ROOT), str(clone)], check=True)
    for name in ("infra/setup.sh", "infra/latency_test.sh", "inference/health.sh", ".ci/run", "Makefile", "Dockerfile"):
        assert b"\r" not in (clone / name).read_bytes(), name
    listed = subprocess.run(["git", "ls-files", "-s"], cwd=clone, capture_output=True, text=True, check=True).stdout
    for line in listed.splitlines():
        digest, name = line.split()[1], line.split("\t")[1]
        content = (clone / name).read_bytes()
        blob = hashlib.sha1(b"blob %d\0" % len(content) + content)  # noqa: S324  Git's own
        assert blob.hexdigest() == digest, name


def test_no_module_needs_docstrings_or_asserts() -> None:
    """Python leaves them out with PYTHONOPTIMIZE=2."""
    for folder in ("inference", "locustfiles", "infra", "analysis", "benchmarks"):
        for path in (ROOT / folder).rglob("*.py"):
            tree = ast.parse(path.read_text(encoding="utf-8"))
            assert not [node for node in ast.walk(tree) if isinstance(node, ast.Assert)], path
            for node in ast.walk(tree):
                if isinstance(node, ast.Attribute | ast.Subscript) and isinstance(node.value, ast.Name):
                    assert node.value.id != "__doc__", path


def test_every_process_that_infra_starts_is_given_its_environment() -> None:
    for path in (ROOT / "infra").rglob("*.py"):
        for call in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(call, ast.Call) and re.fullmatch(r"subprocess\.(run|Popen)", ast.unparse(call.func)):
                assert "env" in {keyword.arg for keyword in call.keywords}, f"{path}:{call.lineno}"


def test_a_model_made_with_a_narrow_umask_can_be_read_in_the_image(tmp_path: Path) -> None:
    narrow = tmp_path / "narrow"
    shutil.copytree(ROOT / "inference" / "bundled_model", narrow)
    for path in [narrow, *narrow.iterdir()]:
        path.chmod(0o700 if path.is_dir() else 0o600)
    command = [sys.executable, "-m", "inference.fetch", str(tmp_path / "made")]
    own = {"INFERENCE_MODEL": str(narrow), "INFERENCE_ENGINE": "torch"}
    subprocess.run(command, cwd=ROOT, env=os.environ | own, check=True, capture_output=True, umask=0o077)
    assert all(path.stat().st_mode & 0o044 == 0o044 for path in [tmp_path / "made", *(tmp_path / "made").rglob("*")])
