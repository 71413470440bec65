"""The page in Chromium without a network: on a phone and on a desk, all is drawn, opens and downloads."""

from __future__ import annotations

import csv
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import sync_playwright
from recorded_runs import whole_experiment

from analysis.analyse import analyse
from analysis.read.results import read_results
from analysis.show.page import render

pytestmark = pytest.mark.browser


@pytest.fixture(params=[375, 1440])
def opened(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[Any, list[str], int]]:
    """The page of an experiment at this width, what its console called an error, and the width."""
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if chromium is None:
        pytest.skip("no Chromium on the PATH")
    page = tmp_path / "page.html"
    page.write_text(render(analyse(read_results(whole_experiment(tmp_path / "results", rounds=2)))), encoding="utf-8")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        context = browser.new_context(viewport={"width": request.param, "height": 900}, offline=True)
        context.grant_permissions(["clipboard-read", "clipboard-write"])
        tab, errors = context.new_page(), []
        tab.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
        tab.on("pageerror", lambda error: errors.append(str(error)))
        tab.goto(page.as_uri())
        tab.wait_for_function("document.documentElement.dataset.drawn === 'yes'")
        yield tab, errors, request.param
        browser.close()


def test_all_is_drawn_opens_and_downloads(opened: tuple[Any, list[str], int], tmp_path: Path) -> None:
    page, errors, width = opened
    tabs = page.get_by_role("tab")
    assert tabs.count() == 2
    tabs.first.click()
    assert page.get_by_role("tabpanel").count() == 1
    tabs.first.press("ArrowRight")
    assert tabs.last.get_attribute("aria-selected") == "true"
    charts = page.locator(".plot")
    assert charts.count() == page.locator(".plot:has(.main-svg)").count() > 20
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.title().startswith("Fourfold")
    with page.expect_download() as table:
        page.get_by_role("button", name="Download as CSV").click()
    table.value.save_as(tmp_path / "figures.csv")
    with (tmp_path / "figures.csv").open(newline="") as file:
        assert {row["figure"] for row in csv.DictReader(file)} >= {"median_ms", "throughput_per_s"}
    copy = page.get_by_role("button", name="Copy the table: Under load")
    copy.click()
    page.wait_for_function("button => button.textContent === 'Copied'", arg=copy.element_handle())
    copied = page.evaluate("navigator.clipboard.readText()").splitlines()
    assert [line.split("\t")[0] for line in copied] == ["Run as", "Host process", "Swarm, 3 replicas"]
    page.evaluate("() => { navigator.clipboard.writeText = () => Promise.reject(new Error('refused')); }")
    copy.click()
    page.wait_for_function("button => button.textContent === 'Press Ctrl-C'", arg=copy.element_handle())
    selected = page.evaluate("getSelection().toString()")
    assert selected.startswith("Run as")
    assert "MEM USAGE / LIMIT" in selected
    for format in ("SVG", "PNG"):
        with page.expect_download() as image:
            page.get_by_role("button", name=f"Save as {format}").first.click()
        assert image.value.suggested_filename.endswith(f".{format.lower()}")
    assert errors == []
