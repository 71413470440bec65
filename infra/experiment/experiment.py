"""The experiment: its rounds, one after another, until there are enough; all in one folder, which can be continued."""

from __future__ import annotations

import itertools
import os
import shlex
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import datetime
from pathlib import Path

from rich.console import Console

from infra.alone import alone_on_engine, alone_on_machine
from infra.cluster.load_stack import remove_left_load
from infra.cluster.ready import why_no_cluster, why_no_images_there
from infra.cluster.record import cluster_of
from infra.deployments.cpus import why_not_pinned
from infra.deployments.docker_engine import API_FAILURES, FAILURES, Engine, connect
from infra.deployments.host_there import There, look_there
from infra.deployments.images import fetch_model, find_image, have_image, is_model_of_host, serves_only_bundled
from infra.deployments.own_python import prepare_python, python_record
from infra.deployments.settings import Settings
from infra.deployments.table import BY_NAME, remove
from infra.deployments.users_files import why_not_valid
from infra.environment import for_python
from infra.errors import DeploymentError, ImageError, PlanError, RecordError, ResumeError, why
from infra.experiment.bench import Bench
from infra.experiment.changes import why_none_changed
from infra.experiment.circumstances import Circumstances, changed_file, circumstances_here, differences, service_record
from infra.experiment.enough import Budget, spent_s
from infra.experiment.groups import why_one_port
from infra.experiment.journal import Journal, now
from infra.experiment.load import end_leftovers
from infra.experiment.plan import MIB, Plan
from infra.experiment.progress import View, staircase_in_words
from infra.experiment.rounds import Rounds
from infra.paths import INFRA, IS_INSTALLED, ROOT
from runfiles.cluster import ClusterRecord
from runfiles.deployments import HOST, title_of
from runfiles.events import BLOCKS, FAILED, STATUS_MEASURED
from runfiles.files import BLANK_FOLDER, group_folder, round_folder
from runfiles.lines import tidy
from runfiles.records import Image, Model, Options
from servicefile.service_file import ServiceFile, read_service
from servicefile.toml import NotValid

INTERRUPTED = 130

COMMAND = [INFRA] if IS_INSTALLED else ["python", "-m", "infra"]
"""How a record calls the command. The analysis (judge/advice.py) knows both."""


def run_new(plan: Plan, settings: Settings, results: Path, load_image: str | None = None) -> int:
    """Begin an experiment in a new folder of ``results``. Returns the exit code. ``load_image``: nodes of a swarm
    send the load (``infra.cluster``).

    Raises:
        PlanError: two deployments that run side by side have one port, or no deployment can be changed as it says.
        NotValid: a Compose file or stack file that the service file names can't be used.
        DeploymentError: another experiment runs on this machine or on the engine, the load generator can't be pinned,
            the swarm is not ready, or the folder can't be made.
        RecordError: the experiment's record can't be written there.
    """
    warnings = refuse_impossible(plan, settings)
    if load_image is not None and (reason := why_no_cluster(connect(), replace(settings, load_nodes=plan.load_nodes))):
        raise DeploymentError(reason)
    with alone_on_machine(), alone_on_engine(list(plan.deployments)):
        folder = make_folder(results)
        try:
            journal = begin_journal(folder, plan, settings, circumstances_here(), load_image)
        except RecordError:
            with suppress(OSError):
                folder.rmdir()
            raise
        return Experiment(folder, journal, settings.service).run(warnings)


def command_line() -> str:
    """What was typed, as a record holds it."""
    return shlex.join([*COMMAND, *sys.argv[1:]])


def begin_journal(
    folder: Path, plan: Plan, settings: Settings, circumstances: Circumstances, load_image: str | None = None
) -> Journal:
    """The record of a new experiment.

    Raises:
        RecordError: it can't be written.
    """
    options = Options(
        service=str(settings.service.path),
        image=settings.image,
        build=settings.built_from is not None,
        ports=settings.ports,
        reach=settings.reach,
        host_folder=settings.host_folder,
        start_timeout_s=settings.start_timeout_s,
        load_image=load_image,
    )
    return Journal.begin(folder, plan, command_line(), circumstances, options, service_record(settings.service))


def resume(folder: Path) -> int:
    """Continue an experiment: what is measured stays, all else is measured. Returns the exit code.

    Raises:
        ResumeError: it can't be continued here and now.
        DeploymentError: another experiment runs on this machine, or on the engine; or what was left of this one can't
            be removed.
    """
    with alone_on_machine():
        try:
            folder = folder.resolve()
        except (OSError, RuntimeError) as error:  # a loop of links
            raise ResumeError(f"{folder} can't be read ({error}); name a folder such as results/<time>") from error
        journal = Journal.reopen(folder)
        experiment = Experiment(folder, journal, service_of(journal, folder))
        experiment.end_leftovers()  # whatever is refused below, nothing writes into the folder any more
        with alone_on_engine(list(journal.plan.deployments)):
            return experiment.resume()


def service_of(journal: Journal, folder: Path) -> ServiceFile:
    """The service that an experiment began to measure.

    Raises:
        ResumeError: its service file can't be used any more, or says something else now.
    """
    path = Path(journal.options.service)
    try:
        service = read_service(path)
        same = service_record(service) == journal.record.service
    except (NotValid, OSError) as error:
        raise ResumeError(f"{folder} can't be continued: {error}") from error
    if same and (changed := changed_file(service, datetime.fromisoformat(journal.record.started_at))):
        raise ResumeError(
            f"{folder} can't be continued: {changed} has changed since it began, so the rounds would be of two "
            "versions; bring that back, or begin a new experiment"
        )
    if not same:
        raise ResumeError(
            f"{folder} can't be continued: {path} is not as it was; bring that back, or begin a new experiment"
        )
    return service


def refuse_impossible(plan: Plan, settings: Settings) -> list[str]:
    """Refuse what can be known before anything is made. Returns why what is measured will not be valid.

    Raises:
        PlanError, DeploymentError, NotValid: as in ``run_new``.
    """
    if plan.layout == BLOCKS and (reason := why_one_port(plan.deployments, settings)):
        raise PlanError(reason)
    if reason := why_none_changed(plan.deployments, plan.changes):
        raise PlanError(reason)
    if reason := why_not_pinned(plan.generator_cpus):
        raise DeploymentError(reason)
    planned = replace(settings, cpus=plan.cpus, memory_bytes=plan.memory_mb * MIB, service_cpus=plan.service_cpus)
    return why_not_valid(plan.deployments, planned)


class Experiment:
    """One experiment: where it writes, what it uses, and what it tells the person who waits."""

    def __init__(self, folder: Path, journal: Journal, service: ServiceFile, view: View | None = None) -> None:
        """``view`` None: one of its own."""
        self._folder = folder
        self._journal = journal
        self._plan = journal.plan
        self._options = journal.options
        self._settings = Settings(
            service=service,
            other_image=self._options.image,
            ports=dict(self._options.ports),
            reach=dict(self._options.reach),
            host_folder=self._options.host_folder,
            other_start_timeout_s=self._options.start_timeout_s,
            cpus=self._plan.cpus,
            memory_bytes=self._plan.memory_mb * MIB,
            service_cpus=self._plan.service_cpus,
            restarts=bool(self._plan.changes),
            placement=self._plan.placement,
            load_nodes=self._plan.load_nodes,
        )
        budget = Budget(self._plan.budget_minutes, spent_s(folder, journal.record))
        self._view = view or View(journal, Console(highlight=False), budget)
        self._bench = Bench(folder, journal, self._settings, self._view)
        self._rounds = Rounds(self._bench, budget)
        self._is_prepared = False
        self._no_image: str | None = None  # why the image that the service file asks for can't be had
        self._containers = [name for name in self._plan.deployments if BY_NAME[name].facts.needs_engine]

    def run(self, warnings: Sequence[str] = ()) -> int:
        """Measure every deployment that this machine allows, as often as the plan says, and write the page.

        ``warnings`` are told first: why it will not be valid.

        Returns the exit code: 0 also where this machine could not run some; 1 where one was started and failed, the
        image that the service file asks for could not be had, or none could be measured; 130 after Ctrl-C; where it
        would be 0, that of the analysis, which has its own for an invalid run.
        """
        names, plan = ", ".join(self._plan.deployments), self._plan
        until = f"for {plan.budget_minutes:g} minutes at most"
        if not plan.rates:  # how precise a staircase is can't be told in one number
            until = f"to within ±{plan.precision:g}%, {until}"
        rounds = "1 round" if plan.rounds == 1 else f"{plan.rounds} rounds"
        how = f"in {rounds}" if plan.rounds is not None else until
        self._view.say(f"Fourfold measures {names} {how}; everything lands in {self._folder}")
        if plan.rates:
            self._view.say(staircase_in_words(plan))
        for warning in warnings:
            self._view.say(f"warning: {warning}")
        code = 0
        try:
            code = self._measure_what_is_left()
            self._journal.note(ended_at=now())
        except RecordError as error:
            self._view.say(f"error: {error}; what was measured before is kept")
            code = code or 1
        statuses = self._journal.statuses()
        page_code = write_page(self._folder)
        if code or FAILED in statuses:
            say_how_to_go_on(self._view, self._folder, self._journal.record.command)
        self.say_no_image()
        is_in_part = FAILED in statuses or STATUS_MEASURED not in statuses or self._no_image is not None
        return code or int(is_in_part) or page_code

    def _measure_what_is_left(self) -> int:
        """Returns 0, 1 where nothing can be measured, or 130 after Ctrl-C."""
        try:
            self._fetch_model()
            self._prepare_python()
            with self._view.shown():
                self._rounds.measure_all(self._prepare_image() if self._containers else None)
            self._rounds.say_why_it_ended()
        except DeploymentError as error:
            self._view.say(f"error: {error}")
            return 1
        except KeyboardInterrupt:
            self._view.say("interrupted: what was started has been removed, what was measured is kept")
            return INTERRUPTED
        return 0

    def measure_round(self, number: int, *, is_first: bool) -> None:
        """Measure what is left of one round, as the cell of a grid.

        Args:
            number: the round.
            is_first: whether nothing was measured before, also not in another cell.

        Raises:
            DeploymentError: nothing of this cell can be measured.
            RecordError: the record can't be written.
        """
        is_prepared, self._is_prepared = self._is_prepared, True
        if not is_prepared:
            self._fetch_model()
            self._prepare_python()
        with self._view.shown():
            if not is_prepared:
                self._rounds.find_what_can_run(self._prepare_image() if self._containers else None)
            self._rounds.has_run |= not is_first
            self._rounds.measure_round(number)

    def say_no_image(self) -> bool:
        """Whether the image that the service file asks for can't be had. If so, say why."""
        if self._no_image is not None:
            titles = "; ".join(map(title_of, self._containers))
            self._view.say(f"error: not measured: {titles}: {self._no_image}")
        return self._no_image is not None

    def end_leftovers(self) -> None:
        """End the load generators of an earlier try.

        Raises:
            DeploymentError: one is another user's.
        """
        for process in end_leftovers(self._folder):
            self._view.say(f"ended what was left: load generator {process}")

    def resume(self) -> int:
        """Measure what is left, after a look whether it would be comparable with what is there.

        Raises:
            ResumeError: it would not be.
            DeploymentError: what was left of the experiment can't be removed.
            RecordError: its record can't be written.
        """
        self.refuse_other_folders()
        if self.is_whole:
            self._view.say(f"nothing is left to measure in {self._folder}")
            return write_page(self._folder)
        self.go_on()
        return self.run()

    @property
    def is_whole(self) -> bool:
        """Whether nothing is left to measure."""
        is_ended = self._plan.rounds is not None or self._journal.record.stopped_by is not None
        return is_ended and not list(self._journal.left())

    def go_on(self) -> None:
        """Make ready to measure what is left.

        Raises:
            ResumeError, DeploymentError, RecordError: as in ``resume``.
        """
        record = self._journal.record
        self._refuse_other_circumstances()
        for what in remove_left_load() if self._options.load_image is not None else ():
            self._view.say(f"removed what was left: {what}")
        for name in self._journal.cut_off():
            for what in remove(name, self._settings):
                self._view.say(f"removed what was left: {what}")
        blank = record.blank if record.blank and record.blank.status == STATUS_MEASURED else None
        self._journal.note(resumed_at=(*record.resumed_at, now()), ended_at=None, stopped_by=None, blank=blank)

    def refuse_other_folders(self) -> None:
        """Each round's files must lie in the experiment's own folder: a link would have those of others deleted."""
        try:
            for deployment in self._journal.record.deployments:
                for each in deployment.rounds:
                    self._bench.own_folder(round_folder(deployment.name, each.number))
            for group in range(1, len(self._journal.record.groups) + 1):
                for number in range(1, len(self._journal.record.order) + 1):
                    self._bench.own_folder(group_folder(group, number))
            self._bench.own_folder(BLANK_FOLDER)
        except DeploymentError as error:
            raise ResumeError(f"{self._folder} can't be continued: {error}") from error

    def _refuse_other_circumstances(self) -> None:
        """What was measured and what is left must have the same machine, engine, image, model and code."""
        record = self._journal.record
        images = {deployment.image.id for deployment in record.deployments if deployment.image}
        if reason := why_not_pinned(self._plan.generator_cpus):
            raise ResumeError(f"{self._folder} can't be continued: {reason}")
        here = replace(circumstances_here(), model=self._model() if record.model else None)
        if record.host_machine is not None:
            here = replace(here, host_machine=self._look_there().machine)
        try:
            engine = connect() if record.engine else None
            found = differences(record, replace(here, engine=engine.record() if engine else None))
            if engine and record.cluster and self._cluster(engine) != record.cluster:
                found.append("the nodes of the swarm, and at which of them the load comes in")
            if engine and images and {self._find_image(engine).id} != images:
                measured = ", ".join(map(str, images))
                found.append(f"image {self._settings.image}: another than {measured}, which was measured")
        except (DeploymentError, *API_FAILURES) as error:
            raise ResumeError(f"{self._folder} can't be continued: {error}") from error
        if found:
            raise ResumeError(
                f"{self._folder} can't be continued, as its rounds would not be comparable "
                f"({'; '.join(map(tidy, found))}); "
                "bring that back, or begin a new experiment"
            )

    def _model(self) -> Model | None:
        """The model that a service started here would serve, got before anything is timed. None: it has no command that
        tells."""
        if self._settings.service.model is None:
            return None
        said = fetch_model(self._settings.service)
        return Model(name=said["name"], source=said["source"], sha256=said["sha256"])

    def _fetch_model(self) -> None:
        if self._journal.record.model is not None:  # known, and compared before it was continued
            return
        service, with_host = self._settings.service, HOST in self._plan.deployments
        is_fetched_by_build = serves_only_bundled(service) and not is_model_of_host(service, is_with_host=with_host)
        if (self._options.build and not is_fetched_by_build) or with_host:
            model = self._model()
            if model is not None:
                self._journal.note(model=model)
                self._view.say(f"model: {model.name}")

    def _prepare_python(self) -> None:
        service = self._settings.service
        if HOST not in self._plan.deployments or service.command is None:
            return
        if self._settings.host_folder is None:
            prepare_python(service, self._view.say)
            self._journal.note_deployment(HOST, python=python_record(service))
            return
        with suppress(DeploymentError):  # what can run is found out later, and then the reason is told
            there = self._look_there()
            self._journal.note(host_machine=there.machine)
            self._journal.note_deployment(HOST, python=there.python)

    def _look_there(self) -> There:
        """The engine's machine, for the host process."""
        return look_there(BY_NAME[HOST].facts, self._settings)

    def _cluster(self, engine: Engine) -> ClusterRecord | None:
        return cluster_of(engine, self._plan, self._settings, is_on_cluster=self._options.load_image is not None)

    def _find_image(self, engine: Engine) -> Image:
        return find_image(engine, str(self._settings.image), is_built=self._options.build)

    def _have_image(self, engine: Engine) -> Image:
        def show(line: str) -> None:
            self._view.do(f"building the image: {line[:100]}")

        log = self._folder / "image_build.log"
        with_host = HOST in self._plan.deployments
        return have_image(engine, self._settings, log, show, is_built=self._options.build, is_with_host=with_host)

    def _prepare_image(self) -> str | None:
        """Have the image on the engine; why the container deployments can't run where there is none."""
        is_known = any(deployment.image for deployment in self._journal.record.deployments)
        try:
            engine = connect()
            self._journal.note(engine=engine.record(), cluster=self._cluster(engine))
            host_machine = self._journal.record.host_machine
            if HOST in self._plan.deployments and (reason := engine.why_no_verdict(host_machine)):
                self._view.say(reason)
            image = self._find_image(engine) if is_known else self._have_image(engine)
            if self._options.load_image is not None:
                reason = why_no_images_there(engine, str(self._settings.image), self._options.load_image)
                if reason is not None:
                    return reason
        except ImageError as error:
            self._no_image = str(error)
            return self._no_image
        except FAILURES as error:
            return why(error, self._folder)
        for name in self._containers:
            self._journal.note_deployment(name, image=image)
        self._view.say(f"image: {image.name}, {(image.bytes or 0) / 1e6:.0f} MB")
        return None


def say_how_to_go_on(view: View, folder: Path, command: str) -> None:
    """Say how to measure what is left; ``command`` is the one that began it."""
    run = [INFRA, "run"] if IS_INSTALLED else [os.path.relpath(sys.executable), "-m", "infra", "run"]
    if view.is_service_file_wrong:  # --resume refuses another service file than the one it began with
        again = shlex.join([*run, *shlex.split(command)[len(COMMAND) + 1 :]])
        view.say(f"Correct the service file, or the service. Then begin a new experiment: {again}")
    else:
        left = shlex.join([*run, "--resume", os.path.relpath(folder)])
        view.say(f"To measure what is left: {left}")


def write_page(folder: Path) -> int:
    """Make the page of what was measured. Returns the exit code of the analysis."""
    command = [sys.executable, "-m", "analysis", str(folder)]
    return subprocess.run(command, cwd=ROOT, env=for_python(), check=False).returncode


def make_folder(results: Path) -> Path:
    """A folder named by the time; where another experiment began in the same second, with a number behind it."""
    began = datetime.now().astimezone().strftime("%Y-%m-%dT%H-%M-%S")
    for name in itertools.chain([began], (f"{began}-{number}" for number in itertools.count(2))):
        try:
            folder = results.resolve() / name
            folder.mkdir(parents=True)
        except FileExistsError:
            continue
        except (OSError, RuntimeError) as error:  # RuntimeError: a loop of links
            reason = error.strerror if isinstance(error, OSError) else error
            raise DeploymentError(f"{results / name} can't be made ({reason}); name another with --results") from error
        break
    return folder
