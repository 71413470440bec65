"""When an experiment has measured enough: all pairs of deployments are precise, or the time is up."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from statistics import mean

from infra.environment import for_python
from infra.experiment.plan import Plan
from infra.last_words import last_line
from infra.paths import ROOT
from runfiles.deployments import title_of
from runfiles.events import BUDGET, PRECISE, STATUS_MEASURED
from runfiles.files import LOAD, RUN_RECORD_SUFFIX
from runfiles.records import ExperimentRecord, RunRecord

FEWEST_ROUNDS_TO_STOP = 5
"""With fewer rounds an interval may be narrow by chance, so the experiment does not end because of it."""

ONE_PAIR_BUDGET_SHARE = 0.75
"""If there is only one pair, the experiment ends by precision only when so much of the budget is used. Of several pairs
the last one decides, so none is favoured by chance; of one pair more than 5% of the verdicts would be wrong
(docs/statistics.md)."""


@dataclass(frozen=True)
class Pair:
    """How precisely the ratio of two deployments is known: half the width of its interval in percent; None: not yet.

    It is the ratio of their medians or, in a search for the capacity, of their capacities."""

    baseline: str
    subject: str
    half_width_percent: float | None

    def is_precise(self, wanted_percent: float) -> bool:
        return self.half_width_percent is not None and self.half_width_percent <= wanted_percent

    def __str__(self) -> str:
        known = "not known yet" if self.half_width_percent is None else f"±{self.half_width_percent:.1f}%"
        return f"{title_of(self.subject)} against {title_of(self.baseline)} {known}"


def ask_precision(folder: Path) -> list[Pair]:
    """How precise the pairs of an experiment are by now, as the analysis says; none of a staircase of rates.

    Raises:
        ValueError: it does not say so. The message tells why.
    """
    command = [sys.executable, "-m", "analysis", "precision", str(folder)]
    asked = subprocess.run(command, cwd=ROOT, env=for_python(), capture_output=True, text=True, check=False)
    if asked.returncode != 0:
        raise ValueError(f"the analysis ended with exit code {asked.returncode}: {last_line(asked.stderr)}")
    try:
        return [_pair(found) for found in json.loads(asked.stdout)["pairs"]]
    except (LookupError, TypeError, ValueError) as error:
        raise ValueError(f"the analysis does not say how precise the pairs are ({error!r})") from error


def _pair(found: dict[str, object]) -> Pair:
    half_width = found["half_width_percent"]
    if isinstance(half_width, bool) or not isinstance(half_width, int | float | None):
        raise TypeError(f"half_width_percent is {half_width!r}")
    return Pair(str(found["baseline"]), str(found["subject"]), None if half_width is None else float(half_width))


def in_words(pairs: Sequence[Pair], plan: Plan) -> str:
    """The pairs for a person. What the plan wants is about the medians; a search has a tolerance of its own."""
    if len(plan.rates) > 1:
        return "how precise a staircase of rates is can't be said in one number"
    said = ", ".join(map(str, pairs)) or "no pair is known yet"
    return f"{said} (wanted ±{plan.precision:g}%)" if plan.capacity is None else f"ratio of the capacities: {said}"


def spent_s(folder: Path, record: ExperimentRecord) -> float:
    """How much of the budget an earlier try of an experiment used: its measured rounds, from start to end of load."""
    spans: dict[tuple[int, int | None, str], tuple[float, float]] = {}
    for deployment in record.deployments:
        for each in deployment.rounds:
            if each.status != STATUS_MEASURED or each.started_at is None:
                continue
            with suppress(OSError, ValueError):
                ended = RunRecord.read(folder / each.folder / f"{LOAD}{RUN_RECORD_SUFFIX}").ended_at_unix_s
                began = datetime.fromisoformat(each.started_at).timestamp()
                alone = "" if each.group is not None else deployment.name
                first, last = spans.get((each.number, each.group, alone), (began, began))
                spans[each.number, each.group, alone] = (min(first, began), max(last, ended or began))
    return sum(last - first for first, last in spans.values())


class Budget:
    """The time of an experiment: how much there is, how much of it is used, and how long a round takes.

    ``spent_s``: what an earlier try of the experiment used.
    """

    def __init__(self, minutes: float, spent_s: float = 0.0) -> None:
        self._whole_s = minutes * 60
        self._spent_s = spent_s
        self._began: float | None = None
        self._taken_s: list[float] = []

    def begin(self) -> None:
        """The first deployment is started now. Later calls change nothing."""
        self._began = self._began or time.monotonic()

    def note_round(self, taken_s: float) -> None:
        self._taken_s.append(taken_s)

    @property
    def whole_s(self) -> float:
        return self._whole_s

    @property
    def left_s(self) -> float:
        used = 0.0 if self._began is None else time.monotonic() - self._began
        return self._whole_s - self._spent_s - used

    @property
    def used_share(self) -> float:
        return 1 - self.left_s / self._whole_s

    def has_room(self) -> bool:
        """Whether a further round would end in time, if it takes as long as those before."""
        return self.left_s >= (mean(self._taken_s) if self._taken_s else 0.0) and self.left_s > 0


def why_enough(plan: Plan, rounds: int, pairs: Sequence[Pair], running: Collection[str], budget: Budget) -> str | None:
    """Why no further round is measured (``runfiles.events.STOPPED_BY``); None: one is.

    Args:
        plan: it has no number of rounds.
        rounds: how many there are.
        pairs: how precise they are. A deployment that can't run here has no pair that counts. A staircase has none, so
            the time ends it, or five rounds if only one deployment runs.
        running: the deployments that can run here.
        budget: the time.
    """
    counted = [pair for pair in pairs if pair.baseline in running and pair.subject in running]
    is_known = bool(counted) or len(running) == 1
    may_end = rounds >= FEWEST_ROUNDS_TO_STOP and (len(counted) != 1 or budget.used_share >= ONE_PAIR_BUDGET_SHARE)
    if may_end and is_known and all(pair.is_precise(plan.precision) for pair in counted):
        return PRECISE
    return None if budget.has_room() else BUDGET
