"""A grid: its cells are experiments of their own, whose rounds are interleaved. Round 1 of all cells, then round 2, ...

So what slows the machine down for a while slows a round of all cells, and not all rounds of one.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from rich.console import Console

from infra.alone import alone_on_engine, alone_on_machine
from infra.deployments.settings import Settings
from infra.errors import DeploymentError, RecordError, ResumeError
from infra.experiment.cells import cells_of, in_words
from infra.experiment.circumstances import circumstances_here
from infra.experiment.experiment import (
    INTERRUPTED,
    Experiment,
    begin_journal,
    command_line,
    make_folder,
    refuse_impossible,
    say_how_to_go_on,
    service_of,
    write_page,
)
from infra.experiment.grid import ROUNDS, Grid
from infra.experiment.grid_view import CellView, GridClock, round_s
from infra.experiment.journal import Journal, now
from infra.experiment.plan import Plan
from infra.experiment.progress import time_in_words
from runfiles.events import FAILED, STATUS_MEASURED
from runfiles.files import inside, write_whole
from runfiles.grid import GRID_FILE, GridCell, GridRecord
from servicefile.service_file import ServiceFile


@dataclass(frozen=True)
class Cell:
    """A cell that is measured."""

    said: GridCell
    journal: Journal
    view: CellView
    experiment: Experiment


def run_new_grid(plan: Plan, grid: Grid, settings: Settings, results: Path) -> int:
    """Measure a plan that has a grid, in a new folder of ``results``. Returns the exit code.

    Raises:
        PlanError, NotValid, DeploymentError, RecordError: as in ``experiment.run_new``, of any cell.
    """
    cells, left_out = cells_of(plan, grid)
    warnings = [warning for _, each in cells for warning in refuse_impossible(each, settings)]
    names = _names([cell for cell, _ in cells])
    with alone_on_machine(), alone_on_engine(names):
        folder = make_folder(results)
        circumstances = circumstances_here()
        journals = []
        for cell, each in cells:
            own = folder / cell.folder
            own.mkdir()
            journals.append(begin_journal(own, each, settings, circumstances))
        record = GridRecord(
            started_at=now(),
            command=command_line(),
            slo=grid.slo,
            rounds=plan.rounds or ROUNDS,
            cells=tuple(cell for cell, _ in cells),
            left_out=tuple(left_out),
        )
        experiment = GridExperiment(folder, record, journals, settings.service)
        experiment.note()
        return experiment.run(warnings)


def resume_grid(folder: Path) -> int:
    """Measure what is left of a grid. Returns the exit code.

    Raises:
        ResumeError, DeploymentError, RecordError: as in ``experiment.resume``.
    """
    with alone_on_machine():
        folder = folder.resolve()
        record, journals = _read(folder)
        grid = GridExperiment(folder, record, journals, service_of(journals[0], folder))
        grid.end_leftovers()
        with alone_on_engine(_names(record.cells)):
            return grid.resume()


def _read(folder: Path) -> tuple[GridRecord, list[Journal]]:
    """
    Raises:
        ResumeError: it is no grid that can be continued.
    """
    path = folder / GRID_FILE
    try:
        record = GridRecord.read(inside(folder, GRID_FILE))
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise ResumeError(f"{path} can't be read ({reason}); begin a new experiment") from error
    journals = []
    for cell in record.cells:
        own = folder / cell.folder
        if own.is_symlink():
            raise ResumeError(f"{own} is a link; put the folder itself there, or begin a new experiment")
        journal = Journal.reopen(own)
        plan = journal.plan
        found = (plan.deployments, plan.cpus, plan.memory_mb, plan.users, plan.rate, plan.rounds)
        if found != (cell.deployments, cell.cpus, cell.memory_mb, cell.users, cell.rate, record.rounds):
            raise ResumeError(f"{own} is another cell than {path} says; begin a new experiment")
        journals.append(journal)
    return record, journals


def _names(cells: Sequence[GridCell]) -> list[str]:
    """All deployments of some cells."""
    return list(dict.fromkeys(name for cell in cells for name in cell.deployments))


class GridExperiment:
    """All cells of a grid, and the order in which they are measured."""

    def __init__(self, folder: Path, record: GridRecord, journals: Sequence[Journal], service: ServiceFile) -> None:
        self._folder = folder
        self._record = record
        self._console = Console(highlight=False)
        self._clock = GridClock(max(map(round_s, journals)))
        self._said: set[str] = set()
        self._is_first = True
        self._cells = [self._cell(cell, journal, service) for cell, journal in zip(record.cells, journals, strict=True)]

    def _cell(self, cell: GridCell, journal: Journal, service: ServiceFile) -> Cell:
        view = CellView(journal, self._console, in_words(cell), self._clock, self._said)
        return Cell(cell, journal, view, Experiment(self._folder / cell.folder, journal, service, view))

    def say(self, text: str) -> None:
        self._cells[0].view.say(text)

    def note(self, **values: object) -> None:
        """Set what is known of the grid.

        Raises:
            RecordError: the record can't be written.
        """
        self._record = replace(self._record, **values)  # type: ignore[arg-type]
        path = self._folder / GRID_FILE
        try:
            write_whole(path, self._record.text())
        except OSError as error:
            raise RecordError(f"the record can't be written: {path}: {error.strerror}") from error

    def run(self, warnings: Sequence[str] = ()) -> int:
        """Measure all that is left, and make the page. Returns the exit code, as ``Experiment.run`` does."""
        record = self._record
        self._clock.left = sum(not self._is_measured(cell, number) for number, cell in self._order())
        cells = f"{len(record.cells)} cell{'' if len(record.cells) == 1 else 's'}"
        rounds = "1 round" if record.rounds == 1 else f"{record.rounds} rounds"
        self.say(
            f"Fourfold measures a grid of {cells} in {rounds} (about {time_in_words(self._clock.left_s)}); "
            f"everything lands in {self._folder}"
        )
        for line in (*record.left_out, *(f"warning: {warning}" for warning in warnings)):
            self.say(line)
        code = self._measure_all()
        page_code = write_page(self._folder)
        statuses = [status for cell in self._cells for status in cell.journal.statuses()]
        is_wrong = next((cell.view for cell in self._cells if cell.view.is_service_file_wrong), None)
        if code or FAILED in statuses:
            say_how_to_go_on(is_wrong or self._cells[0].view, self._folder, record.command)
        has_no_image = any(cell.experiment.say_no_image() for cell in self._cells)
        is_in_part = FAILED in statuses or STATUS_MEASURED not in statuses or has_no_image
        return code or int(is_in_part) or page_code

    def _order(self) -> list[tuple[int, Cell]]:
        """Each round of each cell: forth, back, forth, ... So a machine that gets slower slows not always the same."""
        return [
            (number, cell)
            for number in range(1, self._record.rounds + 1)
            for cell in (self._cells if number % 2 else self._cells[::-1])
        ]

    @staticmethod
    def _is_measured(cell: Cell, number: int) -> bool:
        return all(cell.journal.is_measured(step) for step in cell.journal.steps(number))

    def _measure_all(self) -> int:
        """Returns 0, 1 where the rest can't be measured, or 130 after Ctrl-C."""
        try:
            for number, cell in self._order():
                if not self._is_measured(cell, number):
                    self._measure(number, cell)
                if cell.view.is_service_file_wrong:
                    return 1
            for cell in self._cells:
                cell.journal.note(ended_at=now())
            self.note(ended_at=now())
        except RecordError as error:
            self.say(f"error: {error}; what was measured before is kept")
            return 1
        except DeploymentError as error:
            self.say(f"error: {error}")
            return 1
        except KeyboardInterrupt:
            self.say("interrupted: what was started has been removed, what was measured is kept")
            return INTERRUPTED
        return 0

    def _measure(self, number: int, cell: Cell) -> None:
        self._take_what_is_known(cell)
        self.say(f"Round {number} of {self._record.rounds}: {in_words(cell.said)}")
        with self._clock.round():
            cell.experiment.measure_round(number, is_first=self._is_first)
        self._is_first = False

    def _take_what_is_known(self, cell: Cell) -> None:
        """All cells have one model and one image: what an earlier one has found out takes time to find out again."""
        records = [other.journal.record for other in self._cells]
        model = next((record.model for record in records if record.model is not None), None)
        if model is not None and cell.journal.record.model is None:
            cell.journal.note(model=model)

    def end_leftovers(self) -> None:
        """End the load generators of an earlier try.

        Raises:
            DeploymentError: one is another user's.
        """
        for cell in self._cells:
            cell.experiment.end_leftovers()

    def resume(self) -> int:
        """Measure what is left, after a look whether it would be comparable with what is there.

        Raises:
            ResumeError, DeploymentError, RecordError: as in ``Experiment.resume``.
        """
        for cell in self._cells:
            cell.experiment.refuse_other_folders()
        left = [cell for cell in self._cells if not cell.experiment.is_whole]
        if not left:
            self.say(f"nothing is left to measure in {os.path.relpath(self._folder)}")
            return write_page(self._folder)
        for cell in left:
            cell.experiment.go_on()
        self.note(resumed_at=(*self._record.resumed_at, now()), ended_at=None)
        return self.run()
