"""The rounds of an experiment: which deployments run in each, in what order, and when there are enough."""

from __future__ import annotations

import itertools
import time
from collections.abc import Sequence
from dataclasses import replace

from infra.deployments.docker_engine import connect
from infra.deployments.table import BY_NAME, why_not
from infra.experiment.bench import Bench
from infra.experiment.blocks import measure_group
from infra.experiment.changes import why_not_changed, why_not_here
from infra.experiment.enough import Budget, Pair, ask_precision, in_words, why_enough
from infra.experiment.groups import grouped, memory_of
from infra.experiment.turns import measure_turn
from runfiles.deployments import title_of
from runfiles.events import BUDGET, NOT_RUN, PRECISE, STATUS_MEASURED, TURNS
from runfiles.lines import tidy
from runfiles.records import MOST_ROUNDS

FEWEST_ROUNDS_TOLD = 2
"""Of fewer rounds it is not told how precise they are."""


class Rounds:
    """Measures the rounds that are left of an experiment."""

    def __init__(self, bench: Bench, budget: Budget) -> None:
        self._bench = bench
        self._journal = bench.journal
        self._plan = bench.plan
        self._view = bench.view
        self._budget = budget
        self._out: dict[str, str] = {}
        self.has_run = False
        self._pairs: list[Pair] | None = None

    def measure_all(self, no_image: str | None) -> None:
        """Measure what is left of the rounds that were begun, and further ones until there are enough.

        ``no_image``: why the container deployments can't run; None: they can.

        Raises:
            RecordError: the record can't be written.
        """
        journal = self._journal
        if not journal.record.order:
            journal.add_round()
        self.find_what_can_run(no_image)
        for number in itertools.count(1):
            if number > len(journal.record.order):
                if self._plan.rounds is not None or number > MOST_ROUNDS or self._has_failed(number - 1):
                    return
                if (stopped_by := self._why_no_further_round(number - 1)) is not None:
                    journal.note(stopped_by=stopped_by)
                    return
                self._add_round()
            began = time.monotonic()
            if self.measure_round(number):
                self._ask_precision(number)
                self._budget.note_round(time.monotonic() - began)

    def find_what_can_run(self, no_image: str | None) -> None:
        """Leave out what can't run here. Of the others, those that run side by side are a group.

        ``no_image``: as in ``measure_all``.
        """
        left = {name for step in self._journal.left() for name in step.names}
        asked = [name for name in self._plan.deployments if self._plan.rounds is None or name in left]
        self._leave_out_if_needed(asked, no_image)
        running = [name for name in self._plan.deployments if name not in self._out]
        if self._plan.layout == TURNS or not running:
            return
        record = self._journal.record
        engine = connect() if any(BY_NAME[name].facts.needs_engine for name in running) else None
        memory = memory_of(engine, is_host_there=self._bench.settings.host_folder is not None)
        groups, reason = grouped(running, memory, record.groups)
        self._journal.note(groups=groups, groups_reason=reason or record.groups_reason)
        for number, group in enumerate(groups, 1):
            together = " side by side" if len(group) > 1 else ""
            self._view.say(f"group {number}: {', '.join(map(title_of, group))}{together}")
        if reason:
            self._view.say(f"there are {len(groups)} groups: {reason}")

    def _add_round(self) -> None:
        self._journal.add_round()
        for name, reason in self._out.items():
            self._journal.note_round(name, len(self._journal.record.order), reason=reason)

    def measure_round(self, number: int) -> bool:
        """Measure what is left of a round. Whether there was something.

        Raises:
            RecordError: the record can't be written.
        """
        has_run = False
        for step in self._journal.steps(number):
            if self._journal.is_measured(step):
                continue
            self._leave_out_if_needed(step.names)
            running = replace(step, names=tuple(name for name in step.names if name not in self._out))
            if not self._journal.own(running) or self._journal.is_measured(running):
                continue
            if self.has_run:
                self._view.do(f"resting for {self._plan.rest_s} s")
                time.sleep(self._plan.rest_s)
            has_run = self.has_run = True
            self._budget.begin()
            with self._view.step(running):
                measure_turn(self._bench, running) if step.group is None else measure_group(self._bench, running)
        return has_run

    def _leave_out_if_needed(self, names: Sequence[str], no_image: str | None = None) -> None:
        """What can't run in one round is not tried again in the next. ``no_image``: as in ``measure_all``."""
        found: dict[str, list[str]] = {}
        for name in names:
            needs_image = BY_NAME[name].facts.needs_engine
            if name not in self._out and (
                reason := why_not_changed(name, self._plan.changes)
                or (no_image if needs_image else None)
                or why_not(name, self._bench.settings)
                or why_not_here(name, self._plan.changes)
            ):
                found.setdefault(reason, []).append(name)
        for reason, hit in found.items():
            for name in hit:
                self._leave_out(name, reason)
            self._view.say_why("; ".join(map(title_of, hit)), NOT_RUN, reason)

    def _leave_out(self, name: str, reason: str) -> None:
        self._out[name] = reason
        self._view.leave_out(name)
        for number in range(1, len(self._journal.record.order) + 1):
            if self._journal.round(name, number).status == NOT_RUN:
                self._journal.note_round(name, number, reason=reason)

    def _has_failed(self, number: int) -> bool:
        """Whether nothing at all was measured in a round: the next one would hardly be better."""
        rounds = [self._journal.round(name, number) for name in self._plan.deployments]
        return all(each.status != STATUS_MEASURED for each in rounds)

    def _why_no_further_round(self, rounds: int) -> str | None:
        running = [name for name in self._plan.deployments if name not in self._out]
        if self._pairs is None:
            self._ask_precision(rounds)
        return why_enough(self._plan, rounds, self._pairs or [], running, self._budget)

    def _ask_precision(self, rounds: int) -> None:
        """Ask how precise the pairs are, and show it. One round says nothing of it."""
        self._pairs = []
        if rounds < FEWEST_ROUNDS_TOLD or len(self._plan.deployments) == 1 or self._has_no_pairs:
            return
        self._view.do("computing how precise the results are")
        try:
            self._pairs = ask_precision(self._bench.folder)
        except ValueError as error:
            self._view.say(f"it is not known how precise the results are: {tidy(str(error))}")
            return
        self._view.note_precision(rounds, self._pairs)

    @property
    def _has_no_pairs(self) -> bool:
        """Whether the load is of several rates, or something changes in it: no ratio of the whole says much."""
        return bool(self._plan.rates or self._plan.changes)

    def say_why_it_ended(self) -> None:
        """One line: why there was no further round, and how precise the pairs are."""
        record, plan = self._journal.record, self._plan
        number = len(record.order)
        rounds = f"{number} round" + ("" if number == 1 else "s")
        if record.stopped_by == PRECISE:
            reason = f"all pairs are as precise as wanted after {rounds}"
        elif record.stopped_by == BUDGET:
            reason = f"the time is up (budget_minutes = {plan.budget_minutes:g}) after {rounds}"
        elif plan.rounds is not None:
            reason = f"{rounds}, as planned"
        else:
            reason = f"nothing was measured in round {number}"
        self._view.say(f"Ended: {reason}" + (f"; {in_words(self._pairs, plan)}" if self._pairs else ""))
