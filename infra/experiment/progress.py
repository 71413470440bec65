"""What the person who waits sees: a table of deployments and rounds, what runs now, how long it will still take; plain
lines where the output is no terminal."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from statistics import mean

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from infra.causes import Causes
from infra.deployments.probe import Pace
from infra.experiment.enough import Budget, Pair, in_words
from infra.experiment.journal import Journal, Step
from infra.experiment.plan import Plan
from runfiles.deployments import title_of
from runfiles.events import CUT_OFF, INTERRUPTED, NOT_RUN, STATUS_MEASURED, TURNS
from runfiles.lines import printable, tidy

REFRESH_PER_S = 4
START_AND_END_S = 4.0
SINGLE_PASS_S = 4.0
"""Guesses, until a round has told how long it takes here."""

MINUTES_FROM_S = 90
MOST_COLUMNS = 5
"""Of so many rounds the table has a column: the last ones."""


class View:
    """Shows an experiment as its journal tells it, and what it is told of what runs now."""

    def __init__(self, journal: Journal, console: Console, budget: Budget) -> None:
        self._journal = journal
        self._plan = journal.plan
        self._console = console
        self._budget = budget
        self._now = ""
        self._current: Step | None = None
        self._is_current_over = False
        self._tried: list[Step] = []
        self._began = 0.0
        self._out: set[str] = set()
        self._pairs: Sequence[Pair] = ()
        self._taken_s: dict[frozenset[str], list[float]] = {}
        self._causes = Causes()
        self._paces: dict[str, Pace] = {}
        self.is_service_file_wrong = False

    def say(self, text: str) -> None:
        """A line that stays."""
        self._console.print(printable(text), markup=False, soft_wrap=True)

    def say_why(self, who: str, status: str, reason: str) -> None:
        """Say that ``who`` has this status, and why. A cause is told once: later lines name whom it hit first."""
        self.say(self._causes.tell(who, status, reason))

    def note_wrong_service_file(self) -> None:
        """The service file, or the service, has to be changed before it can be measured."""
        self.is_service_file_wrong = True

    def do(self, what: str) -> None:
        """What is done now. Only a terminal shows it."""
        self._now = tidy(what)

    def leave_out(self, name: str) -> None:
        """A deployment that no further round will be measured of."""
        self._out.add(name)

    def note_pace(self, name: str, pace: Pace) -> None:
        """How fast a deployment answers, from which the time that is left is guessed. If that is slow, the first time
        is told in a line."""
        if not self._paces and (warning := pace.warning):
            self.say(f"{title_of(name)} is slow: {warning}")
        self._paces[name] = pace

    def note_precision(self, number: int, pairs: Sequence[Pair]) -> None:
        """How precise each pair is after a round. A terminal shows it all the time, other outputs have a line."""
        self._pairs = pairs
        if not self._console.is_terminal:
            self.say(f"after round {number}: {in_words(pairs, self._plan)}")

    @contextmanager
    def step(self, step: Step) -> Iterator[None]:
        """A step of a round, which is timed to tell how long the others will take."""
        self._current, self._began, self._is_current_over = step, time.monotonic(), False
        self._tried.append(step)
        try:
            yield
            self._taken_s.setdefault(frozenset(step.names), []).append(self._this_s())
        finally:
            self._current = None

    def end_step(self) -> None:
        """The present step is over, also if something of it failed: what is left of the time is for the others."""
        self._is_current_over = True

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
        if self._plan.rounds is None:
            budget_s, round_s = max(0.0, self._budget.left_s), self._rest_of_current_s()
            if round_s > budget_s:
                return (
                    f"about {time_in_words(round_s)} left, more than the {self._plan.budget_minutes:g} min of the plan"
                )
            return f"{time_in_words(budget_s)} of {self._plan.budget_minutes:g} min left"
        left = [step for step in self._journal.left() if not self._is_tried(step)]
        seconds = sum(self._expected_s(step) for step in left) + self._rest_of_current_s()
        return f"about {time_in_words(seconds)} left"

    def _rest_of_current_s(self) -> float:
        current = self._current  # another thread draws, and the step may end meanwhile
        if current is None or self._is_current_over or self._journal.is_measured(current):
            return 0.0
        return max(0.0, self._expected_s(current) - self._this_s())

    def _is_tried(self, step: Step) -> bool:
        """Whether a step runs, or is over: if it failed, it is not tried again. What can't run here was not tried."""
        return any(
            (step.number, step.group) == (tried.number, tried.group) and set(tried.names) <= set(step.names)
            for tried in self._tried
        )

    def _expected_s(self, step: Step) -> float:
        names = frozenset(step.names) - self._out
        return expected_s(names, self._known_s(), self._plan, dict(self._paces)) if names else 0.0

    def _known_s(self) -> dict[frozenset[str], list[float]]:
        """How long each step took, the present one too if all that it measures is measured."""
        current = self._current
        if current is None or not self._journal.is_measured(current):
            return self._taken_s
        names = frozenset(current.names)
        return self._taken_s | {names: [*self._taken_s.get(names, []), self._this_s()]}

    def _this_s(self) -> float:
        return time.monotonic() - self._began

    def _draw(self) -> RenderableType:
        table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
        table.add_column("")
        rounds = len(self._journal.record.order)
        first = 1
        if self._plan.rounds is None:
            first = max(1, rounds - MOST_COLUMNS + 1)
        numbers = range(first, rounds + 1)
        for number in numbers:
            table.add_column(f"round {number}", min_width=len(STATUS_MEASURED))
        for name in self._plan.deployments:
            table.add_row(title_of(name), *(self._cell(name, number) for number in numbers))
        precision = [Text(f"precise: {in_words(self._pairs, self._plan)}")] if self._pairs else []
        return Group(table, *precision, self._bar(), Text(self._now, no_wrap=True, overflow="ellipsis"))

    def _bar(self) -> RenderableType:
        """How much is done: of the rounds of the plan or, where it has no number of them, of the time."""
        foot = Table.grid(padding=(0, 1))
        if self._plan.rounds is None:
            spent_s = self._budget.whole_s - self._budget.left_s
            bar = ProgressBar(self._budget.whole_s, min(spent_s, self._budget.whole_s), width=30)
            foot.add_row(bar, f"round {len(self._journal.record.order)}, {self.remaining()}")
            return foot
        steps = sum(len(self._journal.steps(number)) for number in range(1, self._plan.rounds + 1))
        done = steps - len(list(self._journal.left()))
        part = 0.0
        if (current := self._current) is not None:
            part = min(1.0, self._this_s() / self._expected_s(current))
        what = "rounds" if self._plan.layout == TURNS else "rounds of groups"
        foot.add_row(ProgressBar(steps, done + part, width=30), f"{done} of {steps} {what}, {self.remaining()}")
        return foot

    def _cell(self, name: str, number: int) -> Text:
        current = self._current
        if current is not None and number == current.number and name in current.names:
            return Text("now", style="bold")
        round_ = self._journal.round(name, number)
        status = INTERRUPTED if round_.reason == CUT_OFF else round_.status
        if status == NOT_RUN:
            return Text(status if name in self._out else "·", style="dim")
        return Text(status, style="green" if status == STATUS_MEASURED else "red")


def time_in_words(seconds: float) -> str:
    """In minutes, or seconds where it is short."""
    return f"{seconds / 60:.0f} min" if seconds > MINUTES_FROM_S else f"{seconds:.0f} s"


def expected_s(
    names: frozenset[str], taken_s: Mapping[frozenset[str], list[float]], plan: Plan, paces: Mapping[str, Pace]
) -> float:
    """About how long a step takes: as those of the same deployments took, else those of all, else a guess.

    Args:
        names: the deployments that it measures.
        taken_s: by deployments, how long each of their steps took.
        plan: for the guess.
        paces: for the guess, how fast the deployments answer that have begun to. The others are taken to be as fast.
    """
    taken = taken_s.get(names) or [seconds for each in taken_s.values() for seconds in each]
    if taken:
        return mean(taken)
    known = next(iter(paces.values()), Pace(0.0, 0))
    return sum(_guessed_s(paces.get(name, known), plan) for name in names) + plan.rest_s


def staircase_in_words(plan: Plan) -> str:
    """For people: how long a round of a staircase takes."""
    each_s = START_AND_END_S + SINGLE_PASS_S + (plan.warm_up_blocks + plan.blocks) * (plan.block_s + plan.settle_s)
    number = len(plan.deployments)
    whole_s = each_s * number
    steps = "1 rate" if plan.blocks == 1 else f"{plan.blocks} rates"
    whose = "1 deployment" if number == 1 else f"each of {number} deployments"
    said = (
        f"A round takes about {time_in_words(whole_s)} if all is answered: {steps} of {plan.seconds} s for {whose}. It "
        "is shorter if a deployment is overloaded, which then gets no higher rate, and longer if steps are repeated "
        "because other programs disturbed them."
    )
    if plan.rounds is None and whole_s > plan.budget_minutes * 60:
        said += f" The first round is measured to its end, even if it takes longer than {plan.budget_minutes:g} min."
    return said


def _guessed_s(pace: Pace, plan: Plan) -> float:
    """About how long a round of one deployment takes. A load in blocks waits after each one for the last answers."""
    waits = 0 if plan.layout == TURNS else plan.warm_up_blocks + plan.blocks
    load_s = plan.warm_up_s + plan.load_s + waits * pace.answer_s
    return START_AND_END_S + max(SINGLE_PASS_S, pace.pass_s) + load_s
