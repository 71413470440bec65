"""The page of a grid: what is cheapest and how it scales, heat maps, all cells, what to mind, and what was run."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

from analysis.grid import GridAnalysis
from analysis.judge import words
from analysis.judge.check_open import is_open
from analysis.judge.grid_findings import not_valid
from analysis.judge.grid_words import WHAT_A_CELL_IS, load, way
from analysis.judge.grids import load_of
from analysis.read.grid import family_in
from analysis.read.results import Results
from analysis.show import facts
from analysis.show.chart_style import plot_of
from analysis.show.elements import Caveat, CaveatList, Chart, Fact, Page, Section
from analysis.show.grid_charts import efficiency_chart, families, heat_map, height_rem, is_any_shown, range_of
from analysis.show.grid_tables import cell_table, efficiency_tables, grid_csv, objective_table
from analysis.show.page import paragraphs, render_page
from runfiles.deployments import HOST, family_title
from runfiles.files import REPORT_FILE
from runfiles.grid import GridCell
from runfiles.places import ANALYSIS

HEADING = "How many replicas, and how large"
HOW_MAPS_ARE_READ = (
    "In the maps replicas grow to the right and the CPU limit of each replica upwards; there is a map for each "
    "load{memory}. The same colour is the same value in all maps of a quantity, and lighter is more. A dash: not "
    "measured, or not shown; the table below says why."
)
HOW_EFFICIENCY_CHART_IS_READ = (
    "On the dashed line n replicas give n times the answers of one. The bars are 95% intervals. Lines are drawn beside "
    "each other so that their bars can be told apart."
)
MAPS = {
    "throughput_per_s": ("Answers per second", "More is better."),
    "p95_ms": ("p95 of the response time, ms", "Less is better."),
}
"""The quantities that have heat maps: their titles, and which way is better."""
PROXY = (
    "With Docker Compose, several replicas have a reverse proxy (nginx) in front, and one replica has none. So the "
    "efficiency of Docker Compose contains what the proxy costs."
)
HOST_HAS_NO_LIMITS = "The host process has no limits, so it has no cost and is never the cheapest."


def render_grid(grid: GridAnalysis, place: Path) -> str:
    """The page as HTML. ``place``: where it goes, from where links to the cells' own pages lead."""
    return render_page(grid_page(grid, place))


def grid_page(grid: GridAnalysis, place: Path | None = None) -> Page:
    """All that the page shows; without a ``place`` it has no links."""
    found = _sections(grid, place)
    notes = dict.fromkeys(results.note for results in grid.experiments.values() if results.note)
    return Page(
        heading=HEADING,
        name=words.time_of_day(grid.grid.record.started_at),
        headline=grid.headline[0],
        numbers=grid.headline[1:],
        note=" ".join(notes),
        subject=f"{WHAT_A_CELL_IS} This page shows the {len(grid.grid.record.cells)} cells of a grid.",
        facts=tuple(_header_facts(grid)),
        alert_heading="Not all cells are valid.",
        alert="" if grid.is_valid else _alert(grid),
        sections=found,
        plots=tuple((chart.id, chart.plot) for section in found for chart in section.all_charts),
        csv=grid_csv(grid),
    )


def _alert(grid: GridAnalysis) -> str:
    count, total = len(grid.invalid_cells), len(grid.grid.record.cells)
    reasons = not_valid(grid.cells, grid.namer).removeprefix("Not valid: ")
    return f"{count} of {total} cells {'is' if count == 1 else 'are'} not{f': {reasons}' if reasons else '.'}"


def _sections(grid: GridAnalysis, place: Path | None) -> tuple[Section, ...]:
    memory = " and memory limit" if grid.namer.with_memory else ""
    found = (
        Section(
            "key",
            "What the grid shows",
            "What it shows",
            how_to_read=HOST_HAS_NO_LIMITS if grid.objective and _has_host(grid) else "",
            how_findings_are_read="Each number leads to its place in the tables. A bracket with two numbers is the 95% "
            "interval."
            if grid.findings
            else "",
            findings=paragraphs(grid.findings),
            tables=objective_table(grid),
        ),
        Section(
            "table",
            "Cells",
            "Cells",
            f"{WHAT_A_CELL_IS} {HOW_MAPS_ARE_READ.format(memory=memory)}",
            "Download as CSV",
            charts=tuple(_maps(grid)),
            tables=(cell_table(grid, lambda cell: _link(grid, cell, place)),),
        ),
        Section(
            "scaling",
            "Scaling",
            "Scaling",
            PROXY if grid.efficiencies and _has_proxy(grid) else "",
            charts=tuple(_scaling(grid)),
            tables=efficiency_tables(grid),
        ),
        _validity(grid),
        Section("run", "What was run", "What was run", facts=tuple(_run_facts(grid))),
    )
    return tuple(section for section in found if not section.is_empty)


def _has_proxy(grid: GridAnalysis) -> bool:
    return any(each.figures.load.deployment.is_proxied for each in grid.cells)


def _has_host(grid: GridAnalysis) -> bool:
    return any(each.figures.name == HOST for each in grid.cells)


def _link(grid: GridAnalysis, cell: GridCell, place: Path | None) -> str:
    """The address of a cell's own page, relative to this one; empty if it is not there."""
    own = grid.grid.folder / cell.folder / REPORT_FILE
    if place is None or not own.is_file():
        return ""
    path = Path(os.path.relpath(own.resolve(), place.resolve().parent)).as_posix()
    return f"./{quote(path.encode('utf-8', 'surrogateescape'))}"


def _maps(grid: GridAnalysis) -> Iterator[Chart]:
    for family, own in families(grid.cells).items():
        cells = [cell for cell in grid.grid.record.cells if family in map(family_in, cell.deployments)]
        for key, (title, how) in MAPS.items():
            if not is_any_shown(own, key):
                continue
            chart = heat_map(own, cells, key, range_of(grid.cells, key), with_memory=grid.namer.with_memory)
            heading = f"{title}: {family_title(family)}"
            yield Chart(f"map-{key}-{family}", heading, how, plot_of(chart), height_rem(cells))


def _scaling(grid: GridAnalysis) -> Iterator[Chart]:
    for family in families([each.subject for each in grid.efficiencies]):
        own = [each for each in grid.efficiencies if each.subject.family == family]
        if any(each.efficiency.is_measured for each in own):
            chart = efficiency_chart(own, with_memory=grid.namer.with_memory)
            title = f"Efficiency of several replicas: {family_title(family)}"
            yield Chart(f"efficiency-{family}", title, HOW_EFFICIENCY_CHART_IS_READ, plot_of(chart))


def _validity(grid: GridAnalysis) -> Section:
    count = len(grid.experiments)
    invalid = [
        Caveat(words.first_letter(each.doubt.title.capitalize()), each.text(grid.namer, count), "serious")
        for each in grid.doubts
        if each.doubt.is_invalid
    ]
    caveats = [Caveat("", each.text(grid.namer, count)) for each in grid.doubts if not each.doubt.is_invalid]
    said = (
        "The numbers of the cells that are named here must not be used."
        if invalid
        else "Nothing was found that makes a cell invalid."
    )
    if caveats and not invalid:
        said += " Read these caveats before you use a number."
    lists = (("Not valid", invalid), ("Caveats", caveats))
    found = tuple(CaveatList(heading, tuple(items)) for heading, items in lists if items)
    return Section("doubts", "Validity", "Validity", said, caveats=found)


def _example(grid: GridAnalysis) -> Results | None:
    """An experiment that tells what all have in common."""
    measured = next((each.results for each in grid.cells), None)
    return measured or next(iter(grid.experiments.values()), None)


def _header_facts(grid: GridAnalysis) -> Iterator[Fact]:
    """What a reader has to know before the figures."""
    yield Fact("Date", words.time_of_day(grid.grid.record.started_at))
    yield Fact("Deployments", "; ".join(dict.fromkeys(map(way, grid.cells))) or "none was measured")
    results = _example(grid)
    if results is None:
        return
    yield Fact("Machine", facts.machine_in_words(results.experiment.machine))
    yield Fact("Docker engine", facts.engine_in_words(results))
    if told := facts.service(results):
        yield Fact("Service", told)
    yield Fact("Model", ", ".join(facts.models_that_answered(results)) or "the service does not tell")
    yield Fact("Load", _load(grid, results))


def _load(grid: GridAnalysis, results: Results) -> str:
    plan = results.experiment.plan
    loads = "; ".join(dict.fromkeys(load(load_of(cell)) for cell in grid.grid.record.cells))
    length = f"until there were {plan.requests:,} requests" if plan.requests else f"for {plan.seconds or 0:g} s"
    known = facts.HOW_AN_OPEN_LOAD_CONNECTS if is_open(plan) else facts.HOW_USERS_CONNECT
    connections = known.get(plan.user_class, f"The class of the users is {plan.user_class}.")
    planned = grid.grid.record.rounds
    rounds = f"{planned} round{'s' if planned != 1 else ''}"
    how = f"{loads}: {length} in each round, after {plan.warm_up_s:g} s of warm-up, which is not counted"
    return f"{rounds}, by turns: round 1 of all cells, then round 2. {how}. {connections}"


def _run_facts(grid: GridAnalysis) -> Iterator[Fact]:
    record = grid.grid.record
    yield Fact("Command", code=record.command)
    yield Fact("Folder", str(grid.grid.folder))
    yield Fact("Page of one cell", code=f"{ANALYSIS} {shlex.quote(str(grid.grid.folder / record.cells[0].folder))}")
    ended = words.time_of_day(record.ended_at) if record.ended_at else "cut off"
    resumed = f"; resumed {', '.join(map(words.time_of_day, record.resumed_at))}" if record.resumed_at else ""
    yield Fact("Started, ended", f"{words.time_of_day(record.started_at)}, {ended}{resumed}")
    yield Fact("Objective", record.slo or "none was given")
    if record.left_out:
        yield Fact("Left out", "; ".join(record.left_out))
    results = _example(grid)
    if results is not None:
        yield from facts.images(results)
        yield Fact("Commit", facts.commit(results.experiment.git))
