"""Changes by hand: ``python -m infra change``, and the buttons of the web UI that start it."""

from __future__ import annotations

import csv
import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pytest
import requests
from conftest import ROOT, Service, free_port
from playwright.sync_api import Page
from test_live_browser import LOCKED, tab, web_ui

from infra.change_now import change_now
from infra.deployments.change import Change, Changeable, Made, changeable_containers
from infra.deployments.docker_engine import Engine
from infra.deployments.docker_run import DockerRun
from infra.deployments.settings import Settings
from infra.deployments.swarm import Swarm
from infra.deployments.waiting import until_true
from infra.errors import DeploymentError
from runfiles.columns import CHANGES_COLUMNS, column_names

from _live_changes import is_paused, why_foreign

__all__ = ["tab"]  # a fixture

KEEP_ALIVE = ROOT / "locustfiles" / "keep_alive.py"
TOKEN = "X-CSRF-Token"  # noqa: S105  its name


def infra(*arguments: str) -> str:
    command = [sys.executable, "-m", "infra", *arguments]
    bundled = {"INFERENCE_MODEL": str(ROOT / "inference" / "bundled_model")}
    done = subprocess.run(
        command, cwd=ROOT, env=os.environ | bundled, capture_output=True, text=True, timeout=120, check=False
    )
    assert "Traceback" not in done.stderr
    return done.stdout + done.stderr


@contextmanager
def up(name: str, *arguments: str) -> Iterator[str]:
    """A deployment that infra up has started, at the URL that is given."""
    port = free_port()
    said = infra("up", name, "--port", f"{name}={port}", *arguments)
    try:
        assert "answers after" in said, said
        yield f"http://127.0.0.1:{port}"
    finally:
        infra("down", name)


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def token_in(page: str) -> str:
    return page.partition(f'"{TOKEN}": "')[2].partition('"')[0]


def press(url: str, **change: str) -> requests.Response:
    """Ask for a change as a button of the page does."""
    page = requests.get(f"{url}/replicas", timeout=10).text
    headers = {"Origin": url, TOKEN: token_in(page)}
    return requests.post(f"{url}/replicas/change", json=change, headers=headers, timeout=60)


def names_at(url: str) -> list[str]:
    found: list[str] = requests.get(f"{url}/replicas/data", timeout=10).json()["changes"]["replicas"]
    return found


def test_without_the_option_there_are_no_buttons_and_no_route(tmp_path: Path) -> None:
    with web_ui(tmp_path, KEEP_ALIVE, "--host", "http://127.0.0.1:1") as url:
        assert press(url, action="kill", replica="x").status_code == 404
        page = requests.get(f"{url}/replicas", timeout=10).text
        assert "Change the deployment" not in page
        assert TOKEN not in page
        assert "changes" not in requests.get(f"{url}/replicas/data", timeout=10).json()


def test_only_the_page_itself_can_ask_and_only_what_infra_started_is_changed(
    shared_service: Service, tmp_path: Path
) -> None:
    """The service was not started by infra up. The path of the web UI begins with a base, and Locust has a worker."""
    options = ["--live-changes", "--web-base-path", "/load", "--csv", str(tmp_path / "run"), "--processes", "1"]
    options += ["--autostart", "-u", "1", "-t", "120", "--host", shared_service.url]
    with web_ui(tmp_path, KEEP_ALIVE, *options) as base:
        url = f"{base}/load"
        assert until_true(lambda: names_at(url) == ["test-replica"], 30)
        page = requests.get(f"{url}/replicas", timeout=10)
        assert (page.headers["Cache-Control"], page.headers["X-Frame-Options"]) == ("no-store", "DENY")
        own, kill = {"Origin": base, TOKEN: token_in(page.text)}, {"action": "kill", "replica": "test-replica"}
        assert own[TOKEN]

        def status(headers: dict[str, str], change: Any = kill) -> int:
            answer = requests.post(f"{url}/replicas/change", json=change, headers=headers, timeout=60)
            assert answer.json()["error"]
            return answer.status_code

        assert requests.get(f"{url}/replicas/change", timeout=10).status_code == 405
        assert status({"Origin": base}) == 403
        assert status(own | {TOKEN: "a" * len(own[TOKEN])}) == 403
        assert status(own | {"Origin": "http://evil.example"}) == 403
        assert status(own | {"Origin": "null"}) == 403
        assert status({TOKEN: own[TOKEN]}) == 403
        rebound = {"Host": "evil.example:8089", "Origin": "http://evil.example:8089", TOKEN: own[TOKEN]}
        assert status(rebound) == 403
        # Locust lets other pages read answers, so the page with the token is kept from them.
        for foreign in ({"Origin": "http://evil.example"}, {"Host": "evil.example"}):
            refused = requests.get(f"{url}/replicas", headers=foreign, timeout=10)
            assert refused.status_code == 403
            assert own[TOKEN] not in refused.text
        slips: tuple[Any, ...] = (
            {"action": "update", "replica": "test-replica"},
            {"action": "kill"},
            {"action": "kill", "replica": ["test-replica"]},
            {"action": "scale", "replicas": "33"},
            {"action": "scale", "replicas": "0"},
            kill | {"replicas": "1"},
            [],
        )
        for wrong in slips:
            assert status(own, wrong) == 400, wrong
        assert status(own, kill | {"replica": "x" * 3000}) == 413
        assert status(own, kill | {"replica": "--help"}) == 409  # no such replica

        def say_why(_: int) -> str:
            answer = requests.post(f"{url}/replicas/change", json=kill, headers=own, timeout=60)
            assert answer.status_code == 409
            return str(answer.json()["error"])

        with ThreadPoolExecutor(2) as two:
            refusals = sorted(two.map(say_why, range(2)))
        assert refusals[0] == "another change is being made; wait until it is done"
        assert "was not started by .venv/bin/python -m infra up of this checkout" in refusals[1]
        assert shared_service.process.poll() is None
        (tried,) = requests.get(f"{url}/replicas/data", timeout=10).json()["changes"]["made"]
        assert tried["failed"]
        shown = requests.get(f"{url}/replicas/changes.csv", timeout=10).text.splitlines()
        assert shown[0] == ",".join(column_names(CHANGES_COLUMNS))
        assert "was not started by" in shown[1]
    (row,) = rows(tmp_path / "run_changes.csv")
    assert (row["number"], row["action"], row["replica"]) == ("1", "kill", "test-replica")


def test_who_is_not_logged_in_changes_nothing(tmp_path: Path) -> None:
    locustfile = tmp_path / "locked.py"
    locustfile.write_text(LOCKED.format(locustfiles=str(ROOT / "locustfiles")))
    options = ["--web-login", "--live-changes", "--host", "http://127.0.0.1:1"]
    with web_ui(tmp_path, locustfile, *options) as url:
        headers = {"Origin": url, TOKEN: "x"}
        change = {"action": "kill", "replica": "x"}
        answer = requests.post(
            f"{url}/replicas/change", json=change, headers=headers, timeout=10, allow_redirects=False
        )
        assert answer.status_code == 302
        assert answer.headers["Location"].startswith("/login")
        with requests.Session() as somebody:
            said = somebody.post(f"{url}/check", timeout=10, allow_redirects=False)
            assert "SameSite=Lax" in said.headers["Set-Cookie"]
            headers[TOKEN] = token_in(somebody.get(f"{url}/replicas", timeout=10).text)
            answer = somebody.post(f"{url}/replicas/change", json=change, headers=headers, timeout=10)
            assert answer.status_code == 409
            assert "no load runs" in answer.json()["error"]


def test_buttons_need_the_web_ui(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "locust", "-f", str(KEEP_ALIVE), "--headless", "--host", "http://127.0.0.1:1"]
    done = subprocess.run(
        [*command, "--live-changes"], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 2
    assert "--live-changes adds buttons to the web UI" in done.stderr


@pytest.mark.parametrize(
    ("host", "web_host", "is_own"),
    [
        ("127.0.0.1:8089", "", True),
        ("[::1]:8089", "", True),
        ("LOCALHOST:8089", "", True),
        ("load.example:8089", "load.example", True),
        ("load.example:8089", "", False),
        ("localhost.evil.example", "", False),
        ("", "", False),
    ],
)
def test_a_name_that_may_have_been_made_to_point_here_is_foreign(host: str, web_host: str, is_own: bool) -> None:
    headers = {"Host": host, "Origin": f"http://{host.lower()}"}
    assert (why_foreign(headers, "http", web_host, is_change=True) is None) == is_own


class Running:
    """A Swarm service of two replicas, of which the second has been made anew; it notes what is asked of it."""

    def __init__(self) -> None:
        self.asked: list[Change] = []

    def change(self, change: Change) -> Made:
        self.asked.append(change)
        return Made("", "done")

    def found(self) -> Changeable:
        return Changeable(("swarm:web",), ("web.1", "web.3"), self.change, replicas=2)


def test_the_replica_is_found_by_its_name_and_the_number_of_replicas_from_that_which_is_wanted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    running = Running()
    monkeypatch.setattr(Swarm, "running", lambda *_: running.found())

    def asked(action: str, replica: str | None, replicas: str | None) -> Change:
        change_now("swarm-2", action, replica, replicas, Settings())
        return running.asked[-1]

    assert asked("kill", "web.3", None).replica == 2
    assert asked("kill", "1", None).replica == 1
    assert asked("scale", None, "+1").replicas == 3
    assert asked("scale", None, "-1").replicas == 1
    assert asked("scale", None, "32").replicas == 32
    for action, replica, replicas, expected in (
        ("kill", "web.2", None, r"no replica web.2 runs here; those that run: 1 \(web.1\), 2 \(web.3\)"),
        ("pause", "3", None, "no replica 3 runs here"),
        ("scale", None, "33", "there can be 1 to 32 replicas, not 33"),
        ("scale", None, None, "scale needs --replicas"),
        ("scale", "1", "3", "scale has no --replica;"),
        ("kill", None, "3", "--replicas is for scale; kill takes one replica, by --replica"),
    ):
        with pytest.raises(DeploymentError, match=expected):
            asked(action, replica, replicas)


def test_what_has_ended_and_what_was_never_started_are_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    own = SimpleNamespace(name="web", status="exited")
    monkeypatch.setattr(DockerRun, "running", lambda *_: changeable_containers("container:web", [own]))
    with pytest.raises(DeploymentError, match=r"docker run is stopped; run .* down docker, then .* up docker"):
        change_now("docker", "kill", None, None, Settings())
    monkeypatch.setattr(DockerRun, "running", lambda *_: changeable_containers("container:web", []))
    monkeypatch.setattr(DockerRun, "why_another_has_it", lambda _: None)
    monkeypatch.setattr(DockerRun, "why_not", lambda *_: "there is a container named web")
    with pytest.raises(DeploymentError, match=r"does not run, .* can't be started now: there is a container named web"):
        change_now("docker", "kill", None, None, Settings())


@pytest.mark.parametrize(
    ("state", "made", "expected"),
    [
        ("paused", [], True),
        ("running", [("pause", "")], False),
        ("", [], False),
        ("", [("pause", "")], True),
        ("", [("pause", ""), ("resume", "")], False),
        ("", [("pause", ""), ("resume", "failed")], True),
    ],
)
def test_whether_one_is_paused_is_known_from_its_engine_or_from_the_buttons(
    state: str, made: list[tuple[str, str]], expected: bool
) -> None:
    changes = [{"action": action, "replica": "web", "error": error} for action, error in made]
    assert is_paused("web", state, [*changes, {"action": "kill", "replica": "other", "error": ""}]) is expected


def test_nobody_restarts_a_host_process() -> None:
    assert "Host process: nobody restarts it when it has died; leave --restart out" in infra("up", "host", "--restart")


@pytest.mark.browser
def test_the_button_halts_lets_go_on_and_kills_the_host_process(tmp_path: Path, tab: tuple[Page, list[str]]) -> None:
    page, errors = tab
    options = ["--live-changes", "--csv", str(tmp_path / "run"), "--autostart", "-u", "1", "-t", "120"]
    with up("host") as service, web_ui(tmp_path, KEEP_ALIVE, "--host", service, *options) as url:
        page.goto(f"{url}/replicas")
        page.get_by_role("button", name="Pause: host").click()
        page.get_by_text("Done: pause host: SIGSTOP to process").wait_for(timeout=20_000)
        (pid,) = (int(word) for word in page.locator("#said").inner_text().split() if word.isdecimal())
        assert psutil.Process(pid).status() == psutil.STATUS_STOPPED
        page.get_by_text("host (paused)").wait_for(timeout=20_000)
        assert page.get_by_role("button", name="Pause: host").is_disabled()
        assert page.get_by_role("button", name="Kill: host").is_disabled()
        page.wait_for_function("document.querySelector('#cpu .shapelayer .shape-label')?.textContent === 'pause'")
        page.get_by_role("button", name="Resume: host").click()
        page.get_by_text("Done: resume host").wait_for(timeout=20_000)
        page.wait_for_function("!document.querySelector('#replicas').textContent.includes('paused')", timeout=20_000)
        assert page.get_by_role("button", name="Resume: host").is_disabled()
        assert page.locator("#scale").is_hidden()
        page.get_by_role("button", name="Kill: host").click()
        page.get_by_text("Done: kill host: SIGKILL").wait_for(timeout=20_000)
        assert until_true(lambda: not psutil.pid_exists(pid) or names_at(url) == [], 20)
        page.wait_for_function("document.querySelectorAll('#replicas li').length === 0", timeout=20_000)
        page.wait_for_function("document.querySelectorAll('#cpu .shapelayer path').length === 3", timeout=20_000)
    told = rows(tmp_path / "run_changes.csv")
    assert [(row["number"], row["action"], row["replica"], row["error"]) for row in told] == [
        ("1", "pause", "host", ""),
        ("2", "resume", "host", ""),
        ("3", "kill", "host", ""),
    ]
    for row in told:
        assert float(row["due_at_unix_s"]) < float(row["began_at_unix_s"]) <= float(row["ended_at_unix_s"])
    assert errors == []


@pytest.mark.engine
def test_a_container_is_killed_by_the_button_and_one_of_others_is_not(
    tmp_path: Path, engine: Engine, service_image: str, bystanders: list[str]
) -> None:
    options = ["--live-changes", "--csv", str(tmp_path / "run"), "--autostart", "-u", "1", "-t", "120"]
    name = "llm-inference-container"
    with up("docker", "--restart") as service, web_ui(tmp_path, KEEP_ALIVE, "--host", service, *options) as url:
        assert until_true(lambda: names_at(url) == [name], 30)
        assert press(url, action="scale", replicas="+1").json()["error"].startswith("docker run can't be scaled")
        said = press(url, action="kill", replica=name).json()
        assert said == {"made": f"kill {name}: SIGKILL to all its processes"}
        container = engine.client.containers.get(name)

        def is_restarted() -> bool:
            container.reload()
            return bool(container.attrs["RestartCount"] == 1 and container.status == "running")

        assert until_true(is_restarted, 30)
        for target in ("container:bystander", "compose:fourfold-bench/other", "swarm:other"):
            assert "was not started by" in infra("change", target, "kill")
    failed, killed = rows(tmp_path / "run_changes.csv")
    assert (failed["action"], failed["number"]) == ("scale", "1")
    assert (killed["action"], killed["number"], killed["replica"], killed["error"]) == ("kill", "2", name, "")
    theirs = engine.client.containers.run(service_image, ["sleep", "60"], name=name, detach=True, init=True)
    try:
        said = infra("change", "docker", "kill")
        assert (
            "docker run does not run, as far as this checkout has started it, and can't be started now: there" in said
        )
        assert f"there is a container named {name} that Fourfold did not make" in said
        theirs.reload()
        assert theirs.status == "running"
    finally:
        theirs.remove(force=True)
