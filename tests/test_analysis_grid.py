"""The page of a grid: efficiency, the objective in each cell, the cheapest cell, cells that are missing or wrong."""

from __future__ import annotations

import json
import math
import re
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from playwright.sync_api import sync_playwright
from recorded_grids import cell, write_cell, write_grid
from recorded_runs import NASTY, not_run, open_record
from scipy import stats

from analysis import compare, grid_command
from analysis.__main__ import main
from analysis.grid import GridAnalysis, analyse_grid
from analysis.judge.grid_findings import cheapest_parts
from analysis.judge.grids import MEETS, MISSES, NOT_PROVEN, CellOfFamily, Cheapest, cheapest, cost_of
from analysis.measure.grid import share_missed
from analysis.read.grid import read_grid
from analysis.read.records import UnreadableResults
from analysis.show.grid_page import grid_page, render_grid
from analysis.show.page_markdown import page_as_markdown
from runfiles.grid import GridCell
from runfiles.objective import read_objective

SLOW = {1: 1.0, 2: 1.02, 3: 0.98}
"""Round -> how fast the machine was in it; that slows all cells alike."""


def answers(own: Mapping[str, Any]) -> Callable[[str, int], int]:
    """72 answers per second for each core, of several replicas with Swarm 95% of that."""
    lost = 1.0 if own["replicas"] == 1 else 0.95
    cores = own["replicas"] * (own["cpus"] or 1)
    return lambda name, number: round(72 * cores * (lost if name.startswith("swarm") else 1) * SLOW[number])


def _waits(own: Mapping[str, Any]) -> Callable[[str, int], float]:
    """The median response time in ms, where all users wait all the time."""
    return lambda name, number: 1000 * own["users"] / answers(own)(name, number)


def measure(folder: Path, cells: Sequence[Mapping[str, Any]], rounds: int = 3, **values: Any) -> Path:
    """A grid of which all cells were measured. The users wait all the time, so the median is users / answers."""
    write_grid(folder, cells, rounds, **values)
    for place, own in enumerate(cells):
        per_second = answers(own)
        write_cell(folder, own, per_second, _waits(own), rounds, place)
    return folder


def analysed(folder: Path) -> GridAnalysis:
    return analyse_grid(read_grid(folder))


def own_of(grid: GridAnalysis, name: str, cpus: float | None = 0.5) -> CellOfFamily:
    return next(each for each in grid.cells if (each.figures.name, each.cell.cpus) == (name, cpus))


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """1 and 2 replicas of 0.5 CPU, and one of 1 CPU; 8 users. p95 is 260, 130 and 130 ms."""
    cells = [cell(1), cell(2), cell(1, 1.0)]
    return measure(tmp_path_factory.mktemp("small") / "grid", cells)


@pytest.fixture(scope="module")
def grid(small: Path) -> GridAnalysis:
    return analysed(small)


def test_the_efficiency_is_that_of_paired_rounds(grid: GridAnalysis) -> None:
    found = {each.subject.figures.name: each for each in grid.efficiencies}
    assert list(found) == ["compose-2", "swarm-2"]
    assert found["compose-2"].efficiency.value == pytest.approx(1, abs=0.02)
    swarm = found["swarm-2"]
    one, two = (own_of(grid, name).figures.load.values("throughput_per_s") for name in ("swarm-1", "swarm-2"))
    logs = np.log([two[number] / one[number] for number in one])
    low, high = stats.t.interval(0.95, len(logs) - 1, logs.mean(), stats.sem(logs))
    assert swarm.times.value == pytest.approx(math.exp(logs.mean()))
    assert (swarm.efficiency.low, swarm.efficiency.high) == pytest.approx((math.exp(low) / 2, math.exp(high) / 2))
    assert swarm.efficiency.low < 0.95 < swarm.efficiency.high
    # The machine was slower in some rounds: ratios within a round do not contain that.
    assert swarm.efficiency.high / swarm.efficiency.low < 1.1
    said = f"2 replicas of Swarm (0.5 CPU each, 8 users) gave {swarm.times.value:.2f} times the answers per second of "
    assert any(text.startswith(said) for text in grid.headline)


def test_the_cheapest_cell_that_meets_the_objective_is_named_first(grid: GridAnalysis) -> None:
    assert [(each.figures.name, each.cell.cpus, each.state) for each in grid.cells] == [
        ("compose", 0.5, MISSES),
        ("compose-2", 0.5, MEETS),
        ("compose", 1.0, MEETS),
        ("swarm-1", 0.5, MISSES),
        ("swarm-2", 0.5, MEETS),
        ("swarm-1", 1.0, MEETS),
    ]
    # As many cores as 2 replicas of 0.5 CPU, and less memory.
    assert grid.headline[0] == (
        "1 replica of 1 CPU with Docker Compose or Swarm is the cheapest that answers 8 users with p95 < 200 ms, "
        "failures < 1%."
    )


def words_of(found: Cheapest, grid: GridAnalysis, *unmeasured: tuple[GridCell, str]) -> str:
    parts = cheapest_parts(found, unmeasured, read_objective("p95 < 200 ms"), grid.namer)
    return "".join(part if isinstance(part, str) else part.text for part in parts)


def test_what_is_cheaper_and_not_proven_is_told(grid: GridAnalysis) -> None:
    half, two = own_of(grid, "compose"), own_of(grid, "swarm-2")
    (found,) = cheapest([replace(half, state=NOT_PROVEN), two])
    said = words_of(found, grid)
    assert said == (
        "2 replicas of 0.5 CPU with Swarm are the cheapest that answer 8 users with p95 < 200 ms. 1 replica of 0.5 CPU "
        "with Docker Compose may do as well: more rounds would tell."
    )
    (found,) = cheapest([replace(half, state=NOT_PROVEN), replace(two, state=MISSES)])
    said = words_of(found, grid)
    assert said.startswith(
        "Nothing that was measured is proven to answer 8 users with p95 < 200 ms: 1 of 2 misses it, 1 is not proven. 1 "
        "replica of 0.5 CPU with Docker Compose may do: "
    )
    (found,) = cheapest([two])
    said = words_of(found, grid, (half.cell, "docker"))
    assert said.endswith("1 replica of 0.5 CPU with docker run would be cheaper, and was not measured.")


def test_the_host_process_is_never_the_cheapest(grid: GridAnalysis) -> None:
    own = own_of(grid, "compose", 1.0)
    load = own.figures.load
    host = replace(own.figures, load=replace(load, deployment=replace(load.deployment, name="host")))
    (found,) = cheapest([replace(own, figures=host), own_of(grid, "swarm-2")])
    assert [each.figures.name for each in found.found] == ["swarm-2"]


def test_cores_come_before_memory_and_memory_before_replicas() -> None:
    def of(replicas: int, cpus: float | None, memory_mb: int = 512) -> GridCell:
        return GridCell(
            folder="x", replicas=replicas, cpus=cpus, memory_mb=memory_mb, users=8, deployments=("compose",)
        )

    in_order = [of(1, 0.2), of(3, 0.1), of(1, 0.3, 4096), of(1, 0.5, 1024), of(2, 0.25, 1024), of(1, None), of(2, None)]
    mixed = [*reversed(in_order)]
    assert sorted(mixed, key=cost_of) == in_order
    assert cost_of(of(3, 0.1)) == cost_of(replace(of(3, 0.1), folder="y"))
    assert cost_of(of(3, 0.1, 512))[0] == cost_of(of(1, 0.3, 512))[0]


def test_the_interval_of_a_share_is_that_of_korn_and_graubard() -> None:
    none = share_missed([(0, 500)] * 3)
    exact = stats.binomtest(0, 1500).proportion_ci(0.95, "exact")
    assert (none.value, none.low, none.high) == pytest.approx((0, exact.low, exact.high))
    every = share_missed([(500, 500)] * 3)
    assert (every.value, every.high) == (1, 1)
    rounds = [(10, 500), (30, 500), (80, 500)]
    found = share_missed(rounds)
    share = 120 / 1500
    design = sum((missed - 500 * share) ** 2 for missed, _ in rounds) / (500 * share * (1 - share)) / 2
    count = 1500 / design * (stats.norm.ppf(0.975) / stats.t.ppf(0.975, 2)) ** 2
    assert found.low == pytest.approx(stats.beta.ppf(0.025, share * count, count - share * count + 1))
    assert found.high == pytest.approx(stats.beta.ppf(0.975, share * count + 1, count - share * count))
    assert not share_missed(rounds[:2]).has_interval
    assert share_missed([(0, 0)]).missing == "no request was measured"


def test_two_rounds_give_no_interval_and_prove_nothing(tmp_path: Path) -> None:
    grid = analysed(measure(tmp_path, [cell(1), cell(2)], rounds=2))
    assert {each.state for each in grid.cells} == {NOT_PROVEN}
    assert {each.why for each in grid.cells} == {"2 rounds give no interval; measure at least 3"}
    assert not any(each.efficiency.has_interval for each in grid.efficiencies)
    assert "0.5 CPU with Docker Compose or Swarm" in grid.headline[0]
    assert "may do: at least 3 rounds would tell" in grid.headline[0]
    page = page_as_markdown(grid_page(grid))
    assert "no interval from two rounds" in page
    assert "of 2 times as many" in page


def test_without_an_objective_the_scaling_comes_first(small: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(small, tmp_path / "grid")
    change(folder, slo=None)
    grid = analysed(folder)
    assert grid.headline[0].startswith("2 replicas of Docker Compose behind a proxy (0.5 CPU each, 8 users) gave ")
    page = grid_page(grid)
    assert "objective" not in " ".join(column.title for table in page.sections[1].tables for column in table.columns)
    change(folder, slo="p95 is fine")
    with pytest.raises(UnreadableResults, match=r"slo is not an objective \(p95 is fine is no condition"):
        analysed(folder)


def change(folder: Path, **values: Any) -> None:
    path = folder / "grid.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def test_a_cell_that_is_missing_unreadable_or_another_is_told(small: Path, tmp_path: Path, capsys: Any) -> None:
    folder = shutil.copytree(small, tmp_path / "grid")
    cells = json.loads((folder / "grid.json").read_text())["cells"]
    shutil.rmtree(folder / cells[0]["folder"])
    assert main_of(folder) == 0  # nothing that is there is wrong
    said = capsys.readouterr().out
    assert f"caveat: 1 replica of 0.5 CPU, 8 users: not measured: there is no folder {cells[0]['folder']}" in said
    grid = analysed(folder)
    assert {each.efficiency.missing for each in grid.efficiencies} == {
        "there is no measured cell with 1 replica to compare with"
    }
    (folder / cells[1]["folder"] / "experiment.json").write_text("{")
    plan = folder / cells[2]["folder"] / "experiment.json"
    plan.write_text(plan.read_text().replace('"cpus": 1.0, "memory_mb"', '"cpus": 2.0, "memory_mb"'))
    assert main_of(folder) == 3
    said = capsys.readouterr().out
    assert "not valid: files can't be read: 2 replicas of 0.5 CPU, 8 users: not measured: " in said
    assert "not valid: records contradict each other: 1 replica of 1 CPU, 8 users: its plan has cpus = 2" in said
    assert "is the cheapest" not in said


def main_of(folder: Path, *arguments: str) -> int:
    """The exit code of ``python -m analysis FOLDER ARGUMENTS``."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.argv", ["analysis", str(folder), *arguments])
        return main()


def test_an_invalid_cell_proves_nothing_and_is_red(small: Path, tmp_path: Path, capsys: Any) -> None:
    folder = shutil.copytree(small, tmp_path / "grid")
    told = cell(1, 1.0)
    shutil.rmtree(folder / told["folder"])
    write_cell(folder, told, answers(told), lambda *_: 100.0, failed=30)
    junit = tmp_path / "found.xml"
    assert main_of(folder, "--junit", str(junit)) == 3
    said = capsys.readouterr().out
    assert said.startswith("2 replicas of 0.5 CPU with Docker Compose behind a proxy or Swarm are the cheapest ")
    assert said.count("not valid: over 1% of the requests failed") == 1
    assert said.splitlines()[-1] == f"The page: {(folder / 'report.html').as_uri()}"
    page = (folder / "report.html").read_text()
    assert '<div class="invalid" role="alert"><b>Not all cells are valid.</b> 1 of 3 cells is not: ' in page
    suites = {suite.get("name"): suite for suite in ElementTree.parse(junit).getroot()}  # noqa: S314
    assert {name: (suite.get("tests"), suite.get("failures")) for name, suite in suites.items()} == {
        "validity": ("3", "1"),
        "objective": ("6", "0"),
    }
    cases = {case.get("name"): case for case in suites["objective"]}
    name = next(name for name in cases if name and name.endswith("Docker Compose") and "of 1 CPU" in name)
    assert (cases[name].findtext("system-out") or "").startswith(
        "not proven; not valid: over 1% of the requests failed"
    )


def test_links_lead_only_to_pages_that_are_there(small: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(small, tmp_path / "a grid")
    first = json.loads((folder / "grid.json").read_text())["cells"][0]["folder"]
    hrefs = re.compile(r'<a href="(\./[^"]*|\.\./[^"]*)"')
    assert not hrefs.findall(render_grid(analysed(folder), folder / "report.html"))
    assert main_of(folder / first) == 0  # the folder of a cell is an experiment of its own
    grid = analysed(folder)
    assert set(hrefs.findall(render_grid(grid, folder / "report.html"))) == {f"./{first}/report.html"}
    elsewhere = hrefs.findall(render_grid(grid, tmp_path / "out" / "page.html"))
    assert set(elsewhere) == {f"./../a%20grid/{first}/report.html"}


def test_hostile_names_stay_text(tmp_path: Path) -> None:
    name = NASTY.replace("/", "")
    cells = [cell(1) | {"folder": f"javascript:{name}"}, cell(2) | {"folder": '"><i>'}]
    folder = measure(tmp_path, cells, command=NASTY, left_out=[NASTY, "[a](b)"])
    (folder / cells[0]["folder"] / "report.html").touch()
    grid = analysed(folder)
    page = render_grid(grid, folder / "report.html")
    assert NASTY not in page.replace(page[page.index("<script>") :], "")
    assert 'href="./javascript%3A' in page
    assert '"><i>' not in page[: page.index("<script>")]
    assert "\\[a\\](b)" in page_as_markdown(grid_page(grid))
    change(folder, cells=[cell(1) | {"folder": "../elsewhere"}])
    with pytest.raises(UnreadableResults, match="no name of a folder"):
        read_grid(folder)
    change(folder, cells=[cell(1), cell(1) | {"folder": "again"}])
    with pytest.raises(UnreadableResults, match="are the same one of 'compose'"):
        read_grid(folder)


def _about(count: int, _: str, number: int) -> int:
    return count + number - 2


def test_the_host_process_without_limits_makes_no_container_invalid(tmp_path: Path) -> None:
    grid = analysed(measure(tmp_path, [cell(1, deployments=["host", "compose"])]))
    assert [(each.figures.name, each.is_valid) for each in grid.cells] == [("host", True), ("compose", True)]
    assert [each.figures.name for found in grid.cheapest for each in found.others] == ["compose"]
    assert "The host process has no limits" in page_as_markdown(grid_page(grid))


def at_rate(folder: Path, rate: float, carried: Mapping[int, int], rounds: int = 3) -> GridAnalysis:
    """Cells of one rate. Each answers so many per second, by its replicas; the others are left without an answer."""
    cells = [cell(replicas, rate=rate, deployments=[f"swarm-{replicas}"]) for replicas in carried]
    write_grid(folder, cells)
    for place, own in enumerate(cells):
        count = carried[own["replicas"]]
        lost = round(10 * (rate - count))
        told = open_record(rate_per_s=rate, over_bound=lost)
        write_cell(
            folder,
            own,
            partial(_about, count),
            lambda *_: 50.0,
            rounds,
            place,
            open=told,
        )
    return analysed(folder)


def test_a_rate_that_is_carried_says_nothing_of_the_efficiency(tmp_path: Path) -> None:
    (found,) = at_rate(tmp_path, 60, {1: 60, 2: 60}).efficiencies
    assert not found.efficiency.is_measured
    assert "so the replicas were not asked for all that they can give" in (found.efficiency.missing or "")


def test_an_overloaded_cell_misses_the_objective_and_tells_the_efficiency(tmp_path: Path) -> None:
    grid = at_rate(tmp_path, 200, {1: 40, 2: 76})
    assert [(each.state, each.why) for each in grid.cells] == [(MISSES, "it is overloaded")] * 2
    assert {doubt.kind for each in grid.cells for doubt in each.invalid} == {"overload"}
    assert grid.cells[0].missed[0].value == pytest.approx(160 / 200, abs=0.01)
    (found,) = grid.efficiencies
    assert found.efficiency.value == pytest.approx(0.95, abs=0.01)


def test_an_idle_replica_gives_no_efficiency_and_few_users_a_caveat(tmp_path: Path) -> None:
    cells = [cell(replicas, users=users, deployments=[f"swarm-{replicas}"]) for users in (1, 3) for replicas in (1, 2)]
    found = analysed(measure(tmp_path, cells)).efficiencies
    assert found[0].efficiency.missing == "1 user is fewer than 2 replicas, so some replica would always be idle"
    assert found[1].efficiency.is_measured
    assert found[1].caveat == "only 3 users for 2 replicas, so a replica may often wait for a request"


def test_a_doubt_of_many_cells_is_told_once(grid: GridAnalysis) -> None:
    texts = [each.text(grid.namer, 3) for each in grid.doubts]
    shared = [text for text in texts if "the single pass is missing" in text]
    assert len(shared) == 1
    assert shared[0].endswith("(Alike in all 3 measured cells, with Docker Compose and Swarm.)")


def test_every_cell_has_its_place_in_the_heat_maps(grid: GridAnalysis) -> None:
    charts = {chart.id: chart.plot for chart in grid_page(grid).sections[1].charts}
    assert list(charts) == [
        f"map-{key}-{family}" for family in ("compose", "swarm") for key in ("throughput_per_s", "p95_ms")
    ]
    plot = charts["map-throughput_per_s-swarm"]
    (trace,) = plot["data"]
    assert (trace["x"], trace["y"]) == (["1", "2"], ["0.5 CPU", "1 CPU"])
    assert trace["z"][1][1] is None
    written = {(mark.get("x"), mark.get("y")): mark["text"] for mark in plot["layout"]["annotations"]}
    assert written[1, 1] == "\N{EN DASH}"
    assert written[0, 0] == f"{trace['z'][0][0]:.1f}"


def test_a_grid_of_which_nothing_was_measured_says_so(tmp_path: Path, capsys: Any) -> None:
    folder = write_grid(tmp_path, [cell(1), cell(2)], ended_at=None)
    assert main_of(folder) == 0
    said = capsys.readouterr().out.splitlines()
    assert said[0] == "Nothing was measured: no load of the grid can be read."
    assert "caveat: The grid was cut off, or still runs: its record has no end." in said
    assert said[-1].startswith("The page: ")


def test_why_a_deployment_did_not_run_is_told(small: Path, tmp_path: Path, capsys: Any) -> None:
    folder = shutil.copytree(small, tmp_path / "grid")
    path = folder / cell(2)["folder"] / "experiment.json"
    record = json.loads(path.read_text())
    record["deployments"][1] = not_run("swarm-2", "no IPVS here")
    path.write_text(json.dumps(record))
    assert main_of(folder) == 0
    assert "Swarm, 2 replicas: not run: no IPVS here" in capsys.readouterr().out
    assert "| not measured (not run: no IPVS here) |" in page_as_markdown(grid_page(analysed(folder)))


@pytest.mark.browser
def test_the_page_fits_a_phone_and_a_desk(small: Path, tmp_path: Path) -> None:
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if chromium is None:
        pytest.skip("no Chromium on the PATH")
    page = tmp_path / "page.html"
    page.write_text(render_grid(analysed(small), page), encoding="utf-8")
    errors: list[str] = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        for width in (375, 1440):
            tab = browser.new_page(viewport={"width": width, "height": 900})
            tab.on("pageerror", lambda error: errors.append(str(error)))
            tab.goto(page.as_uri())
            tab.wait_for_function("document.documentElement.dataset.drawn === 'yes'")
            assert tab.locator(".plot:has(.main-svg)").count() == 6
            assert tab.evaluate("document.documentElement.scrollWidth") <= width
        browser.close()
    assert errors == []


def test_other_uses_of_a_grid_are_refused_in_plain_words(small: Path, tmp_path: Path, capsys: Any) -> None:
    own = small / cell(1)["folder"]
    for arguments in ((str(small),), (str(own),)):
        with pytest.raises(SystemExit):
            main_of(small, *arguments)
        assert f"{small} is a grid, which has a page of its own; name it alone" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main_of(small, "--format", "handin")
    assert "--format handin goes with one experiment" in capsys.readouterr().err
    assert compare.main([str(small), str(own)]) == 2
    assert f"{small} is a grid and {own} is none, so they can't be compared" in capsys.readouterr().err
    assert compare.main([str(small), str(small)]) == 2
    assert "hold the same runs" in capsys.readouterr().err
    markdown = tmp_path / "page.md"
    assert grid_command.make(small, "markdown", markdown, None, None) == 0
    assert "### All cells" in markdown.read_text()


def test_grids_are_compared_cell_by_cell(small: Path, tmp_path: Path, capsys: Any) -> None:
    """In the new grid 2 replicas take twice as long, and the cell of 1 CPU was measured in one round only."""
    folder = tmp_path / "new"
    cells = [cell(1), cell(2), cell(1, 1.0), cell(3)]
    write_grid(folder, cells)
    for place, own in enumerate(cells[:3]):
        slower = 2 if own["replicas"] == 2 else 1
        rounds = 1 if own["cpus"] == 1.0 else 3
        median = 8000 * slower / answers(own)("compose", 1)
        write_cell(folder, own, answers(own), lambda *_, median=median: median, rounds, 10 + place)
    junit = tmp_path / "found.xml"
    assert compare.main([str(small), str(folder), "--fail-on", "median>10%", "--junit", str(junit)]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert "caveat: only the new grid has 3 replicas of 0.5 CPU, 8 users, so they are not compared" in lines
    assert len(lines) == 1 + 6
    worse = [line for line in lines if "regression: " in line]
    assert [line.partition(": median")[0] for line in worse] == [
        "2 replicas of 0.5 CPU, 8 users: Compose, 2 replicas behind a proxy",
        "2 replicas of 0.5 CPU, 8 users: Swarm, 2 replicas",
    ]
    assert sum("one of the two has one round" in line for line in lines) == 2
    assert compare.main([str(folder), str(small), "--fail-on", "median>10%"]) == 3
    suites = ElementTree.parse(junit).getroot()  # noqa: S314
    (suite,) = (suite for suite in suites if suite.get("name") == "compare")
    assert (suite.get("tests"), suite.get("failures"), suite.get("errors")) == ("6", "2", "2")


def test_too_few_requests_for_a_median_do_not_hide_the_efficiency(tmp_path: Path) -> None:
    cells = [cell(1), cell(2)]
    write_grid(tmp_path, cells)
    for place, own in enumerate(cells):
        write_cell(tmp_path, own, lambda *_, own=own: 3 * own["replicas"], lambda *_: 300.0, place=place)
    grid = analysed(tmp_path)
    assert {(each.state, each.why) for each in grid.cells if each.cell.replicas == 1} == {
        (NOT_PROVEN, "not valid: there were too few requests")
    }
    assert [each.efficiency.value for each in grid.efficiencies] == pytest.approx([1, 1], abs=0.05)
    assert grid.headline[0].startswith("Not valid: there were too few requests (1 replica of 0.5 CPU, 8 users with ")
    assert "times the answers per second of one" in grid.headline[1]
