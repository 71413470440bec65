"""What the person who waits sees of a grid: the cell that is measured now, and how long all will still take."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from statistics import mean

from rich.console import Console, Group, RenderableType
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from infra.experiment.enough import Budget
from infra.experiment.journal import Journal
from infra.experiment.progress import View, expected_s, time_in_words


class GridClock:
    """How many rounds of cells there are to measure, and how long the rest will take."""

    def __init__(self, guessed_s: float) -> None:
        """``guessed_s``: about how long one round of a cell takes, until one has told."""
        self._guessed_s = guessed_s
        self._taken_s: list[float] = []
        self._began: float | None = None
        self.left = 0
        """Rounds of cells that are not begun."""

    @contextmanager
    def round(self) -> Iterator[None]:
        """A round of a cell. It tells how long the others will take."""
        self._began = time.monotonic()
        self.left -= 1
        try:
            yield
            self._taken_s.append(time.monotonic() - self._began)
        finally:
            self._began = None

    @property
    def done(self) -> int:
        return len(self._taken_s)

    @property
    def left_s(self) -> float:
        each_s = mean(self._taken_s) if self._taken_s else self._guessed_s
        current_s = 0.0 if self._began is None else max(0.0, each_s - (time.monotonic() - self._began))
        return self.left * each_s + current_s

    def remaining(self) -> str:
        return f"about {time_in_words(self.left_s)} left"


def round_s(journal: Journal) -> float:
    """About how long a round of a cell takes."""
    return sum(expected_s(frozenset(step.names), {}, journal.plan, {}) for step in journal.steps(1))


class CellView(View):
    """Shows one cell of a grid, as ``View`` shows an experiment. What another cell said already is not said again."""

    def __init__(self, journal: Journal, console: Console, title: str, clock: GridClock, said: set[str]) -> None:
        super().__init__(journal, console, Budget(journal.plan.budget_minutes))
        self._title = title
        self._clock = clock
        self._said = said

    def say(self, text: str) -> None:
        if self._current is None and text in self._said:  # within a step two cells may rightly say the same
            return
        self._said.add(text)
        super().say(text)

    def remaining(self) -> str:
        return self._clock.remaining()

    def _draw(self) -> RenderableType:
        return Group(Text(self._title, style="bold"), super()._draw())

    def _bar(self) -> RenderableType:
        rounds = self._clock.done + self._clock.left + 1
        foot = Table.grid(padding=(0, 1))
        foot.add_row(
            ProgressBar(rounds, self._clock.done, width=30),
            f"{self._clock.done} of {rounds} rounds of cells, {self.remaining()}",
        )
        return foot
