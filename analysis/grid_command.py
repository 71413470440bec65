"""``python -m analysis GRID``: the page of a grid."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

from rich import box
from rich.table import Table

from analysis.grid import GridAnalysis, analyse_grid
from analysis.judge.doubts import INVALID_EXIT_CODE
from analysis.judge.grid_words import WHAT_A_CELL_IS, share, share_interval, way
from analysis.read.grid import read_grid
from analysis.show.grid_page import grid_page, render_grid
from analysis.show.grid_tables import efficiency_lines, summary_rows
from analysis.show.junit import Case, render_junit
from analysis.show.output import write_output
from analysis.show.page_markdown import page_as_markdown
from analysis.terminal import NOT_MADE, print_headline, why_not_made
from runfiles.grid import GridCell

MOST_LINES = 12
"""So many efficiencies are shown in the terminal; the page has all."""


def make(folder: Path, format: str, default: Path, output: Path | None, junit: Path | None) -> int:
    """Make the page and print what was found; the exit code is that of ``python -m analysis``.

    Args:
        folder: that of the grid.
        format: ``html`` or ``markdown``.
        default: where the page goes if the user named no place. Its folder is made if it is missing.
        output: the place that the user named.
        junit: where JUnit XML goes; None: nowhere.
    """
    page = output or default
    try:
        grid = analyse_grid(read_grid(folder))
        content = render_grid(grid, page) if format == "html" else page_as_markdown(grid_page(grid))
        if output is None:
            page.parent.mkdir(exist_ok=True)
        write_output(page, content, follow_link=output is not None, results=[folder])
        if junit:
            write_output(junit, render_junit([*cases_of(grid)]), follow_link=True, results=[folder])
    except NOT_MADE as error:
        print(f"error: {why_not_made(error, page)}", file=sys.stderr)
        return 2
    _print_summary(grid)
    print(f"The page: {page.resolve().as_uri()}")
    return 0 if grid.is_valid else INVALID_EXIT_CODE


def cases_of(grid: GridAnalysis) -> Iterator[Case]:
    """For JUnit: whether each cell is valid, and what each family in it says of the objective."""
    measured = {each.cell.folder for each in grid.cells}
    for cell in grid.grid.record.cells:
        doubts = grid.validities[cell.folder]
        failure = "; ".join(f"{doubt.title}: {doubt.text}" for doubt in doubts.invalid) or None
        lacks = "; ".join(doubt.text for doubt in doubts.caveats if doubt.is_of_a_lack)
        error = (lacks or "not measured") if cell.folder not in measured and failure is None else None
        yield Case("validity", _name(grid, cell), failure=failure, error=error, said=lacks if error is None else "")
    for own in grid.cells if grid.objective else ():
        shares = zip(grid.objective.conditions if grid.objective else (), own.missed, strict=True)
        told = [
            f"{condition.text}: {share(missed)} missed it ({share_interval(missed)})" for condition, missed in shares
        ]
        said = "; ".join([own.state, *([own.why] if own.why else []), *told])
        yield Case("objective", f"{_name(grid, own.cell)}, {way(own)}", said=said)


def _name(grid: GridAnalysis, cell: GridCell) -> str:
    """A cell's name; with that of its folder, as two cells may differ in their deployments only."""
    return f"{grid.namer.name(cell)} ({cell.folder})"


def _print_summary(grid: GridAnalysis) -> None:
    """What the terminal says: the headline, the cells, the efficiencies, and what is not valid or not measured."""
    console = print_headline(grid.headline)
    if grid.cells:
        head, rows = summary_rows(grid)
        title = f"{WHAT_A_CELL_IS}\nThe cells, under load, without warm-up"
        table = Table(box=box.SIMPLE_HEAD, pad_edge=False, collapse_padding=True, title=title, title_justify="left")
        for place, name in enumerate(head):
            is_word = name in ("load", "run as", "objective")
            table.add_column(name, justify="left" if is_word else "right", no_wrap=place < len(head) - 1)
        for row in rows:
            table.add_row(*row)
        console.print(table, soft_wrap=False)
    for line in efficiency_lines(grid, MOST_LINES):
        console.print(line)
    count = len(grid.experiments)
    for each in grid.doubts:
        if each.doubt.is_invalid:
            console.print(f"not valid: {each.doubt.title}: {each.text(grid.namer, count)}", style="red")
    lacks = [each for each in grid.doubts if each.doubt.is_of_a_lack and not each.doubt.is_invalid]
    for each in lacks:
        console.print(f"caveat: {each.text(grid.namer, count)}")
    others = sum(not each.doubt.is_invalid for each in grid.doubts) - len(lacks)
    if others:
        console.print(f"The page has {others} {'other ' if lacks else ''}caveat{'s' if others > 1 else ''}.")
