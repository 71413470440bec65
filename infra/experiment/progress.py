"""What the person who waits sees: a table of deployments and rounds, what runs now, how long it will still take; plain
lines where the output is no terminal."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from statistics import mean

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from infra.experiment.journal import Journal
from infra.experiment.plan import Plan
from infra.last_words import printable, tidy
from runfiles.deployments import title_of
from runfiles.events import NOT_RUN, STATUS_MEASURED

REFRESH_PER_S = 4
START_AND_END_S = 15.0
SINGLE_PASS_S = 10.0
"""Guesses, until a round has told how long it takes here."""

MINUTES_FROM_S = 90


class View:
    """Shows an experiment as its journal tells it, and what it is told of what runs now."""

    def __init__(self, journal: Journal, console: Console) -> None:
        self._journal = journal
        self._plan = journal.plan
        self._console = console
        self._now = ""
        self._current: tuple[str, int] | None = None
        self._began = 0.0
        self._out: set[str] = set()
        self._taken_s: dict[str, list[float]] = {}

    def say(self, text: str) -> None:
        """A line that stays."""
        self._console.print(printable(text), markup=False, soft_wrap=True)

    def do(self, what: str) -> None:
        """What is done now. Only a terminal shows it."""
        self._now = tidy(what)

    def leave_out(self, name: str) -> None:
        """A deployment that no further round will be measured of."""
        self._out.add(name)

    @contextmanager
    def round(self, name: str, number: int) -> Iterator[None]:
        """A round of a deployment, which is timed to tell how long the others will take."""
        self._current, self._began = (name, number), time.monotonic()
        try:
            yield
            self._taken_s.setdefault(name, []).append(time.monotonic() - self._began)
        finally:
            self._current = None

    @contextmanager
    def shown(self) -> Iterator[None]:
        """Show it for as long as the block lasts."""
        if not self._console.is_terminal:
            yield
            return
        with Live(get_renderable=self._draw, console=self._console, refresh_per_second=REFRESH_PER_S, transient=True):
            yield

    def remaining(self) -> str:
        """For people: how long it will still take, as far as it can be told."""
        left = [name for name, number in self._journal.left() if (name, number) != self._current]
        seconds = sum(expected_s(name, self._taken_s, self._plan) for name in left if name not in self._out)
        if self._current is not None:
            seconds += max(0.0, expected_s(self._current[0], self._taken_s, self._plan) - self._this_s())
        return f"about {seconds / 60:.0f} min left" if seconds > MINUTES_FROM_S else f"about {seconds:.0f} s left"

    def _this_s(self) -> float:
        return time.monotonic() - self._began

    def _draw(self) -> RenderableType:
        table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
        table.add_column("")
        for number in range(1, self._plan.rounds + 1):
            table.add_column(f"round {number}", min_width=len(STATUS_MEASURED))
        for name in self._plan.deployments:
            cells = [self._cell(name, number) for number in range(1, self._plan.rounds + 1)]
            table.add_row(title_of(name), *cells)
        rounds = self._plan.rounds * len(self._plan.deployments)
        done = rounds - len(list(self._journal.left()))
        part = 0.0
        if self._current is not None:
            part = min(1.0, self._this_s() / expected_s(self._current[0], self._taken_s, self._plan))
        foot = Table.grid(padding=(0, 1))
        foot.add_row(ProgressBar(rounds, done + part, width=30), f"{done} of {rounds} rounds, {self.remaining()}")
        return Group(table, foot, Text(self._now, no_wrap=True, overflow="ellipsis"))

    def _cell(self, name: str, number: int) -> Text:
        if self._current == (name, number):
            return Text("now", style="bold")
        status = self._journal.round(name, number).status
        if status == NOT_RUN:
            return Text(status if name in self._out else "·", style="dim")
        return Text(status, style="green" if status == STATUS_MEASURED else "red")


def expected_s(name: str, taken_s: Mapping[str, list[float]], plan: Plan) -> float:
    """About how long a round of a deployment takes: as its own rounds took, else those of all, else a guess.

    Args:
        name: the deployment.
        taken_s: by deployment, how long each of its rounds took.
        plan: for the guess.
    """
    taken = taken_s.get(name) or [seconds for each in taken_s.values() for seconds in each]
    if taken:
        return mean(taken)
    return START_AND_END_S + SINGLE_PASS_S + plan.warm_up_s + plan.seconds + plan.rest_s
