"""Locust's web UI in Chromium: a run is started, watched replica by replica, stopped, started again, and its files are
downloaded."""

from __future__ import annotations

import csv
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import requests
from conftest import ROOT, Service, free_port
from foreign_service import answer, foreign_service, in_turn
from playwright.sync_api import Page, sync_playwright

from infra.deployments.waiting import until_true
from runfiles.files import REPLICA_STATS_SUFFIX, REQUESTS_SUFFIX

pytestmark = pytest.mark.browser

LOCKED = """
import sys
sys.path.insert(0, {locustfiles!r})
from flask import redirect
from flask_login import UserMixin, login_user
from locust import events
from keep_alive import KeepAliveUser

class Somebody(UserMixin):
    def get_id(self):
        return "somebody"

@events.init.add_listener
def lock(environment, **_):
    environment.web_ui.app.secret_key = "of a test"
    environment.web_ui.login_manager.user_loader(lambda name: Somebody())
    environment.web_ui.auth_args = {{"username_password_callback": "/check"}}

    @environment.web_ui.app.route("/check", methods=["POST"])
    def check():
        login_user(Somebody())
        return redirect("/")
"""
"""A locustfile whose web UI asks for a login, and takes any."""


def answers(url: str) -> bool:
    try:
        return requests.get(url, timeout=5, allow_redirects=False).status_code < 500
    except requests.RequestException:
        return False


@contextmanager
def web_ui(folder: Path, locustfile: Path, *arguments: str) -> Iterator[str]:
    """Locust's web UI at the URL that is given."""
    port = free_port()
    command = [sys.executable, "-m", "locust", "-f", str(locustfile), "--web-host", "127.0.0.1"]
    command += ["--web-port", str(port), *arguments]
    with (folder / "locust.log").open("w") as log:
        process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, env=os.environ | {"BROWSER": "true"})
    try:
        url = f"http://127.0.0.1:{port}"
        assert until_true(lambda: answers(url), 30), (folder / "locust.log").read_text()
        yield url
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(30)


@pytest.fixture
def tab() -> Iterator[tuple[Page, list[str]]]:
    """A tab of Chromium, and what the consoles of it and of the tabs beside it called an error."""
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if chromium is None:
        pytest.skip("no Chromium on the PATH")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        context, errors = browser.new_context(), []
        context.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
        context.on("weberror", lambda error: errors.append(str(error.error)))
        yield context.new_page(), errors
        browser.close()


def replicas_row(page: Page) -> list[str]:
    """The cells of the first row in the tab Replicas."""
    page.get_by_role("tab", name="Replicas").click()
    page.get_by_role("cell", name="test-replica").wait_for()
    cells: list[str] = page.locator("tbody tr").first.locator("td").all_inner_texts()
    return cells


def download(page: Page, link: str, to: Path) -> list[dict[str, str]]:
    with page.expect_download() as file:
        page.get_by_role("link", name=link).click()
    file.value.save_as(to)
    return rows(to)


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_a_run_is_started_watched_stopped_and_started_again(
    tab: tuple[Page, list[str]], shared_service: Service, tmp_path: Path
) -> None:
    page, errors = tab
    locustfile = ROOT / "locustfiles" / "keep_alive.py"
    with web_ui(tmp_path, locustfile, "--csv", str(tmp_path / "run"), "--host", shared_service.url) as url:
        page.goto(url)
        page.locator("input[name=userCount]").fill("2")
        page.get_by_role("button", name="Custom parameters").click()
        assert page.locator("input[name=replicas]").input_value() == "auto"
        page.locator("input[name=replicaInterval]").fill("0.5")
        page.get_by_role("button", name="Start").click()
        first = replicas_row(page)

        def has_grown() -> bool:
            now = replicas_row(page)
            return int(now[3]) > int(first[3] or 0) and now[5].replace(".", "").isdigit() and float(now[6]) > 20

        assert until_true(has_grown, 30)

        charts = page.context.new_page()
        charts.goto(f"{url}/replicas")
        charts.locator("#none").wait_for(state="hidden")
        charts.wait_for_function("document.querySelectorAll('#cpu .scatterlayer .trace path.js-line').length === 1")
        charts.wait_for_function(
            "document.querySelectorAll('#requests .scatterlayer .trace path.js-line').length === 1"
        )
        assert "not measured" in charts.locator("#network").inner_text()  # a host process has no interface of its own
        charts.close()

        page.get_by_role("tab", name="Download Data").click()
        assert page.get_by_role("link", name="Replicas: live charts").get_attribute("href") == "/replicas"
        page.get_by_role("button", name="Stop").click()
        page.get_by_role("button", name="New").wait_for()
        for link, suffix in (
            ("Download Requests: one by one CSV", REQUESTS_SUFFIX),
            ("Download Replicas: samples CSV", REPLICA_STATS_SUFFIX),
        ):
            found = download(page, link, tmp_path / "downloaded.csv")
            assert found == rows(tmp_path / f"run{suffix}")
            assert len(found) > 2
        of_first_run = len(rows(tmp_path / f"run{REQUESTS_SUFFIX}"))

        page.get_by_role("button", name="New").click()
        page.get_by_role("button", name="Start").last.click()
        second = tmp_path / f"run_run2{REQUESTS_SUFFIX}"
        assert until_true(lambda: second.exists() and len(rows(second)) > 20, 30)
        # The table begins anew: had it gone on, it would always show more than the second run's.
        assert of_first_run > 0
        assert until_true(lambda: 0 < int(replicas_row(page)[3]) <= len(rows(second)), 30)
        page.get_by_role("button", name="Stop").click()
        page.get_by_role("button", name="New").wait_for()
        page.get_by_role("tab", name="Download Data").click()
        assert download(page, "Download Requests: one by one CSV", tmp_path / "downloaded.csv") == rows(second)
    ended = float(rows(tmp_path / f"run{REQUESTS_SUFFIX}")[-1]["started_at_unix_s"])
    assert float(rows(second)[0]["started_at_unix_s"]) > ended
    assert errors == []


def test_replicas_of_any_name_are_drawn_and_downloaded(tmp_path: Path, tab: tuple[Page, list[str]]) -> None:
    page, errors = tab
    names = ["constructor", "__proto__", "toString", "<b>bold</b>", "&amp;", '=HYPERLINK("http://x","y")', "-1+1", "+5"]
    answers_of_names = [answer(f"X-Replica: {name}", "Server-Timing: inference;dur=1.2.3") for name in names]
    service = foreign_service(in_turn(answers_of_names, answer(body=b"{}")), pause_s=0.01)
    keep_alive = ROOT / "locustfiles" / "keep_alive.py"
    options = ["--autostart", "--csv", str(tmp_path / "run"), "-u", "2", "-t", "20"]
    with service as url, web_ui(tmp_path, keep_alive, "--host", url, *options) as web:
        page.goto(f"{web}/replicas")
        page.wait_for_function(
            "document.querySelectorAll('#requests .scatterlayer .trace path.js-line').length === 8", timeout=30_000
        )
        assert sorted(page.locator("#requests .legendtext").all_text_contents()) == sorted(names)
        page.goto(web)
        page.get_by_role("tab", name="Download Data").click()
        found = download(page, "Download Requests: one by one CSV", tmp_path / "downloaded.csv")
        expected = {f"'{name}" if name.startswith(("=", "-")) else name for name in names}
        assert {row["replica"] for row in found} == expected
        assert requests.post(f"{web}/stop", timeout=10).ok
        assert {row["replica"] for row in rows(tmp_path / "run_requests.csv")} == set(names)
    assert errors == []


def test_who_is_not_logged_in_sees_no_replica(tmp_path: Path) -> None:
    locustfile = tmp_path / "locked.py"
    locustfile.write_text(LOCKED.format(locustfiles=str(ROOT / "locustfiles")))
    with web_ui(tmp_path, locustfile, "--web-login", "--host", "http://127.0.0.1:1") as url:
        for path in ("/replicas", "/replicas/data", "/replicas/plotly.js", "/replicas/requests.csv", "/metrics"):
            answer = requests.get(url + path, timeout=10, allow_redirects=False)
            assert answer.status_code == 302, path
            assert answer.headers["Location"].startswith("/login"), path
        with requests.Session() as somebody:
            assert somebody.post(f"{url}/check", timeout=10).ok
            assert somebody.get(f"{url}/replicas/data", timeout=10).json() == {"charts": {}, "table": []}
            assert somebody.get(f"{url}/replicas/requests.csv", timeout=10).status_code == 404  # no run has begun yet
