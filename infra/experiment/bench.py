"""What both layouts share: where a round's files lie, its single pass, the blank, and why a round failed."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from infra.cluster.send import FromSwarm
from infra.deployments.docker_engine import API_FAILURES
from infra.deployments.probe import NOT_ANSWERED, Pace, ask, why_wrong
from infra.deployments.service import Service
from infra.deployments.settings import Settings
from infra.deployments.table import Running, keep_log
from infra.errors import DeploymentError, ServiceFileError, why, why_disk_is_full
from infra.experiment.blank import measure_blank
from infra.experiment.enough import FEWEST_ROUNDS_TO_STOP
from infra.experiment.journal import Journal
from infra.experiment.load import Load, Outcome, Target, first_rows, last_words_of, rows_so_far, run_locust
from infra.experiment.plan import Plan
from infra.experiment.progress import View
from runfiles.deployments import title_of
from runfiles.events import FAILED, NOT_RUN
from runfiles.files import BLANK_FOLDER, FIRST_PASS_DONE_SUFFIX, SINGLE_PASS, OutsideFolder, inside, round_folder
from runfiles.lines import tidy
from runfiles.records import BlankRecord
from servicefile.texts import requests_of

REPEATED_S = 5.0
"""All single passes of an experiment together take at least so long, so that there are samples enough."""

LEAST_REPEATED_S = 2.0
"""Those of one round."""

ONE_PASS = ("--users", "1", "--spawn-rate", "1", "--run-time", "3600")
"""What Locust on a cluster is told of a single pass, which a worker sends and can't repeat. It ends long before."""

METRICS_WITHIN_S, METRICS_EVERY_S = 5.0, 0.2

SHOW_EVERY_S = 1.0

BLANK_IS_ELSEWHERE = "the load came from nodes of a swarm, and the blank is measured on this machine only"

ENOUGH_WRONG = 3
"""If so many of the first answers of a single pass are wrong, all are."""

ENOUGH_TIMED = 20
"""So many of the first answers of a single pass tell how long it takes."""

LONG_S = 5.0
"""If the first answer is wrong, and came so late, it is not waited for more."""


def repeat_s(plan: Plan) -> float:
    """How many seconds the single passes of a deployment take in each round."""
    return max(LEAST_REPEATED_S, REPEATED_S / (plan.rounds or FEWEST_ROUNDS_TO_STOP))


def copy_whole(service: Service, folder: Path, requests: int) -> list[Path]:
    """Copy the service's metrics files once they have a row for each request: it writes them a moment after it answers.

    A request that failed has none, so this waits for ``METRICS_WITHIN_S`` at most.
    """
    until_s = time.monotonic() + METRICS_WITHIN_S
    while True:
        copied = service.copy_metrics(folder)
        rows = sum(path.read_bytes().count(b"\n") - 1 for path in copied)
        if rows >= requests or not copied or time.monotonic() > until_s:
            return copied
        time.sleep(METRICS_EVERY_S)


@dataclass(frozen=True)
class Bench:
    """Where an experiment is measured: its folder, its record, its settings, and who watches."""

    folder: Path
    journal: Journal
    settings: Settings
    view: View

    @property
    def is_on_cluster(self) -> bool:
        """Whether nodes of a swarm send the load."""
        return self.journal.options.load_image is not None

    @property
    def plan(self) -> Plan:
        return self.journal.plan

    def title(self, what: str, number: int) -> str:
        """A round of something (empty: of all deployments), for people."""
        title = f"{what}, round {number}" if what else f"Round {number}"
        return title + (f" of {self.plan.rounds}" if self.plan.rounds else "")

    def own_folder(self, relative: str) -> Path:
        """A folder of the experiment, which may not be there yet.

        Raises:
            DeploymentError: it leads elsewhere, by a link.
        """
        folder = self.folder / relative
        try:
            if inside(self.folder, folder) == folder:
                return folder
            reason = f"{folder} is a link, or in one"
        except OutsideFolder as error:
            reason = str(error)
        raise DeploymentError(f"{reason}; put the folder itself there, or begin a new experiment")

    def emptied_folder(self, relative: str) -> Path:
        """The same, without what an earlier try left, which was cut off or failed."""
        folder = self.own_folder(relative)
        if folder.exists():
            shutil.rmtree(folder)
        return folder

    def load(self, locustfile: str, prefix: Path, arguments: Sequence[str], meanwhile: Callable[[], None]) -> Load:
        """One Locust of this experiment, which asks its service."""
        service = ["--service", str(self.settings.service.path)]
        return Load(locustfile, prefix, [*service, *arguments], self.plan.generator_cpus, meanwhile)

    def send(
        self,
        locustfile: str,
        running: Running,
        prefix: Path,
        arguments: Sequence[str],
        meanwhile: Callable[[], None],
        workers: int = 1,
    ) -> Outcome:
        """Send one load to a deployment: from this machine or, on a cluster, by so many workers on the swarm's nodes.

        Raises:
            DeploymentError: as ``run_locust``.
        """
        target = Target(running.name, prefix, running.service)
        if (image := self.journal.options.load_image) is not None:
            load = Load(locustfile, prefix, arguments, meanwhile=meanwhile)
            return run_locust(load, [target], FromSwarm(self.settings, workers, image))[running.name]
        where = ["--host", running.url, "--replicas", running.service.replicas]
        return run_locust(self.load(locustfile, prefix, [*where, *arguments], meanwhile), [target])[running.name]

    def single_pass(self, running: Running, number: int) -> None:
        """The single pass of a round, and the service's own rows of its first pass over the texts.

        Raises:
            DeploymentError, OSError or one of API_FAILURES: it is not whole.
        """
        name, service = running.name, running.service
        title = self.title(title_of(name), number)
        folder = self.folder / round_folder(name, number)
        prefix = folder / SINGLE_PASS
        marker = Path(f"{prefix}{FIRST_PASS_DONE_SUFFIX}")
        texts = len(requests_of(self.settings.service.request))
        copied: list[Path] | None = None
        seldom = Seldom()

        def copy_metrics() -> None:
            nonlocal copied
            if seldom.is_due():
                self._refuse_wrong_answers(running, prefix, number)
                self._note_pace(name, prefix, texts)
                self.view.do(f"{title}: single pass, {rows_so_far(prefix)} requests")
            if copied is None and marker.exists():
                copied = copy_whole(service, folder, rows_so_far(prefix))
                marker.unlink(missing_ok=True)

        arguments = ONE_PASS if self.is_on_cluster else ["--repeat-s", f"{repeat_s(self.plan):g}"]
        outcome = self.send(SINGLE_PASS, running, prefix, arguments, copy_metrics)
        self.refuse_failed(outcome, f"{title}: single pass", running, number)
        if self.is_on_cluster:  # the marker is on another machine, and so are the files of some replicas
            copied = service.copy_metrics(folder)
        if copied is None:
            raise DeploymentError("the service's metrics file could not be copied after the first pass over the texts")
        files = tuple(str(file.relative_to(self.folder)) for file in copied)
        self.journal.note_round(name, number, runs=(SINGLE_PASS,), metrics_files=files)

    def _note_pace(self, name: str, prefix: Path, texts: int) -> None:
        """Tell the one who waits how long the single pass takes, as soon as the first texts are answered."""
        if rows := first_rows(prefix, ENOUGH_TIMED):
            answer_s = median(float(row["response_time_ms"]) for row in rows) / 1000
            self.view.note_pace(name, Pace(answer_s, texts))

    def _refuse_wrong_answers(self, running: Running, prefix: Path, number: int) -> None:
        """
        Raises:
            ServiceFileError: the first answers of a single pass are not as the service file says. The pass would go on
                for long.
        """
        rows = first_rows(prefix, ENOUGH_WRONG)
        if not rows or not all(row["error"] for row in rows):
            return
        took_s = float(rows[0]["response_time_ms"]) / 1000
        if len(rows) < ENOUGH_WRONG and took_s < LONG_S:
            return
        reason = f"its first answers are wrong ({tidy(rows[0]['error'])})"
        request = self.settings.service.request
        with suppress(*NOT_ANSWERED):
            reply = ask(running.url, request, requests_of(request)[0], max(LONG_S, 2 * took_s))
            reason = why_wrong(reply, request) or reason
        raise ServiceFileError(
            f"the service at {running.url} runs, but {reason}; last words: {last_words_of(running.service)}"
            f"{self._keep_log(running, number)}"
        )

    def refuse_failed(self, outcome: Outcome, what: str, running: Running, number: int) -> None:
        """Tell the faults of a run. If requests failed, keep the service's log.

        Raises:
            DeploymentError: it is none.
        """
        log = self._keep_log(running, number) if outcome.failures else ""
        if outcome.reason is not None:
            raise DeploymentError(outcome.reason + log)
        for fault in outcome.faults:
            self.view.say(f"{what}: {fault}")

    def _keep_log(self, running: Running, number: int) -> str:
        """Keep the end of the service's log in the round's folder. The end of a sentence that says where it is."""
        log = keep_log(running.name, self.folder / round_folder(running.name, number))
        return f"; the end of its log is in {log}" if log else ""

    def measure_blank(self, running: Running) -> None:
        """Measure the blank, if that is not done yet, while a deployment answers."""
        if self.journal.record.blank is not None:
            return
        if self.is_on_cluster:
            blank = BlankRecord(status=NOT_RUN, reason=BLANK_IS_ELSEWHERE, folder=BLANK_FOLDER)
            self.journal.note(blank=blank)
            return
        self.own_folder(BLANK_FOLDER)
        plan = self.plan
        blank = measure_blank(
            self.folder, self.settings.service, running.url, plan.user_class, self.view.do, plan.generator_cpus
        )
        self.journal.note(blank=blank)
        if blank.reason is not None:
            self.view.say(f"the blank could not be measured: {blank.reason}")

    def fail(self, name: str, number: int, error: Exception) -> None:
        """Note that a round of a deployment failed, and say why."""
        reason = self.why_failed(error)
        if isinstance(error, ServiceFileError):
            self.view.note_wrong_service_file()
        self.view.say_why(self.title(title_of(name), number), FAILED, reason)
        self.journal.note_round(name, number, status=FAILED, reason=reason)

    def why_failed(self, error: Exception) -> str:
        if isinstance(error, OSError) and not isinstance(error, API_FAILURES):
            return why(error, self.folder)
        # Service and Locust write to the same disk: what is seen of them may be a consequence.
        full = why_disk_is_full(self.folder)
        return f"{full}; meanwhile: {error}" if full else str(error)


class Seldom:
    """Something that is not to be done again within ``SHOW_EVERY_S``: reading files takes CPU from what is measured."""

    def __init__(self) -> None:
        self._done_at = -SHOW_EVERY_S

    def is_due(self) -> bool:
        if time.monotonic() - self._done_at < SHOW_EVERY_S:
            return False
        self._done_at = time.monotonic()
        return True
