"""The layout "turns": a round of one deployment, which is started for it."""

from __future__ import annotations

import time
from dataclasses import replace

from infra.deployments.docker_engine import FAILURES
from infra.deployments.table import Running, deployed
from infra.experiment.bench import Bench, Seldom
from infra.experiment.changes import Schedule, spikes_of
from infra.experiment.journal import Step, flush_files, now
from infra.experiment.load import rows_so_far
from runfiles.deployments import title_of
from runfiles.events import CUT_OFF, FAILED, STATUS_MEASURED
from runfiles.files import LOAD, SINGLE_PASS, round_folder


def measure_turn(bench: Bench, step: Step) -> None:
    """Measure a round of one deployment: the single pass, then the load. The record tells what became of it.

    Raises:
        RecordError: the record can't be written.
    """
    (name,), number = step.names, step.number
    title = bench.title(title_of(name), number)
    bench.journal.restart_round(name, number, status=FAILED, reason=CUT_OFF, started_at=now())
    began = time.monotonic()
    try:
        folder = bench.emptied_folder(round_folder(name, number))
        bench.view.do(f"{title}: starting")
        with deployed(name, bench.settings, folder) as running:
            bench.journal.note_round(
                name, number, seconds_to_healthy=running.seconds_to_healthy, limits=running.service.limits
            )
            bench.single_pass(running, number)
            bench.measure_blank(running)
            _send_load(bench, running, number)
            bench.view.do(f"{title}: removing")
        flush_files(folder)
    except FAILURES as error:
        bench.fail(name, number, error)
        return
    bench.journal.note_round(name, number, status=STATUS_MEASURED, reason=None)
    taken_s = time.monotonic() - began
    bench.view.end_step()
    bench.view.say(
        f"{title}: healthy after {running.seconds_to_healthy:.1f} s, measured in {taken_s:.0f} s; "
        f"{bench.view.remaining()}"
    )


def _send_load(bench: Bench, running: Running, number: int) -> None:
    """
    Raises:
        DeploymentError: what was recorded is no whole load.
    """
    plan, name = bench.plan, running.name
    title = f"{bench.title(title_of(name), number)}: load of {plan.load_in_words}"
    prefix = bench.folder / round_folder(name, number) / LOAD
    arguments = [*plan.load_arguments, "--warm-up", str(plan.warm_up_s)]
    arguments += ["--run-time", str(plan.warm_up_s + plan.seconds)]
    arguments += ["--requests", str(plan.requests)] if plan.requests is not None else []
    arguments += [part for spike in spikes_of(plan.changes) for part in ("--spike", str(spike))]
    seldom = Seldom()

    schedule = Schedule(plan.changes, prefix, plan.warm_up_s, running.service.change)

    def show() -> None:
        if said := schedule.make_due():
            bench.view.say(f"{bench.title(title_of(name), number)}: {said}")
        if seldom.is_due():
            bench.view.do(f"{title}, {rows_so_far(prefix)} requests")

    # What a change ends is not gone: that is what is measured.
    service = replace(running.service, gone=lambda: None) if plan.changes else running.service
    try:
        loaded = replace(running, service=service)
        outcome = bench.send(plan.locustfile, loaded, prefix, arguments, show, plan.workers or 1)
    finally:
        schedule.close()
    bench.refuse_failed(outcome, title, running, number)
    bench.journal.note_round(name, number, runs=(SINGLE_PASS, LOAD))
