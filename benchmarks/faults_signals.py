"""Ctrl-C, SIGTERM and SIGKILL at random moments of an experiment: nothing foreign is touched, nothing of ours is left,
and what is missing can be measured later."""

from __future__ import annotations

import random
import signal
import socket
import subprocess
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.faults_experiment import (
    DONE,
    INTERRUPTED,
    TRACEBACK,
    ExperimentFolder,
    Said,
    bystanders,
    engine_here,
    is_measured,
    on_engine,
)
from benchmarks.faults_outcome import Fault, Outcome
from benchmarks.needs import why_no_packages
from infra.deployments.docker_engine import Engine
from runfiles.files import EXPERIMENT_FILE

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGKILL)
CALLED = {signal.SIGINT: "Ctrl-C", signal.SIGTERM: "SIGTERM", signal.SIGKILL: "SIGKILL"}
MOMENTS, SHORT_MOMENTS = 20, 1
SHORT_S = 10.0
"""Within so many seconds the signals come if it is to be short: no experiment ends sooner."""
EARLIEST_S = 0.3
"""Before that Python itself has not started, and ends as it likes."""
WITH_CONTAINER_EACH = 4
"""Each so many moments hit an experiment with a container too, which takes longer."""
SEED = 20
LONGEST_END_S = 120.0
BYSTANDER = "faults-bystander"
FOREIGN_TEXT = "not Fourfold's\n"


@dataclass(frozen=True)
class Moment:
    """When which signal comes: after ``share`` of the time that the experiment takes."""

    number: signal.Signals
    share: float
    deployments: tuple[str, ...]


@dataclass
class Seen:
    """What came of one moment. ``was_early``: there was no record to continue; ``was_late``: it had ended."""

    moment: Moment
    at_s: float
    was_early: bool = False
    was_late: bool = False
    end_s: float | None = None
    resumed: bool = False
    broken: list[str] = field(default_factory=list)


def moments(of_each: int, has_engine: bool, seed: int = SEED) -> list[Moment]:
    """So many moments for each signal, one in each equal part of the experiment's time, at random within it."""
    chance = random.Random(seed)  # noqa: S311  no secret
    found = []
    for number in SIGNALS:
        for place in range(of_each):
            is_long = has_engine and place % WITH_CONTAINER_EACH == WITH_CONTAINER_EACH // 2
            deployments = ("host", "docker") if is_long else ("host",)
            found.append(Moment(number, (place + chance.random()) / of_each, deployments))
    return found


def measure(short: bool) -> Outcome:
    engine = None if short else engine_here()
    seen = []
    with TemporaryDirectory(prefix="fourfold-faults-") as folder:
        lasts_s: dict[tuple[str, ...], float] = {("host",): SHORT_S} if short else {}
        for moment in moments(SHORT_MOMENTS if short else MOMENTS, engine is not None):
            if moment.deployments not in lasts_s:
                lasts_s[moment.deployments] = time_of_one(Path(folder), moment.deployments)
            at_s = max(EARLIEST_S, moment.share * lasts_s[moment.deployments])
            seen.append(look(moment, at_s, Path(folder), engine))
            print(f"    {said_of(seen[-1])}", flush=True)
    return outcome_of(seen)


def said_of(seen: Seen) -> str:
    """One moment in a line, for people who wait."""
    moment, end = seen.moment, "" if seen.end_s is None else f", ended after {seen.end_s:.1f} s"
    state = " (early)" if seen.was_early else " (late)" if seen.was_late else ""
    whom = ",".join(moment.deployments)
    return f"{CALLED[moment.number]} of {whom} at {seen.at_s:.1f} s{state}{end}: {' '.join(seen.broken) or 'ok'}"


def outcome_of(seen: Sequence[Seen]) -> Outcome:
    """What all moments came to."""
    figures: dict[str, object] = {}
    hit = [each for each in seen if not each.was_late]
    for number in SIGNALS:
        own = [each for each in hit if each.moment.number is number]
        figures[f"{CALLED[number]}: moments, held"] = f"{len(own)}, {sum(not each.broken for each in own)}"
        ends = [each.end_s for each in own if each.end_s is not None]
        if number is not signal.SIGKILL and ends:
            figures[f"{CALLED[number]}: longest end, s"] = round(max(ends), 1)
    figures["moments with a container"] = sum("docker" in each.moment.deployments for each in hit)
    to_resume = [each for each in hit if not each.was_early]
    figures["continued and complete"] = f"{sum(each.resumed for each in to_resume)} of {len(to_resume)}"
    figures["too early to continue"] = sum(each.was_early for each in hit)
    figures["ended before the signal"] = len(seen) - len(hit)
    return Outcome(figures, broken_of(seen))


def broken_of(seen: Sequence[Seen]) -> tuple[str, ...]:
    """Each thing that did not hold once, with its number and the first moment."""
    first: dict[str, str] = {}
    counts: Counter[str] = Counter()
    for each in seen:
        for sentence in each.broken:
            what = sentence.partition(":")[0]
            key = f"{CALLED[each.moment.number]}: {what}"
            counts[key] += 1
            first.setdefault(key, f"{CALLED[each.moment.number]} at {each.at_s:.1f} s: {sentence}")
    return tuple(f"{first[key]} ({count} times)." if count > 1 else f"{first[key]}." for key, count in counts.items())


def time_of_one(folder: Path, deployments: Sequence[str]) -> float:
    """How long an experiment takes that nobody disturbs."""
    with TemporaryDirectory(dir=folder) as own:
        began = time.monotonic()
        said = ExperimentFolder(Path(own)).new(deployments, ports()).wait()
        if said.exit_code not in DONE:
            raise RuntimeError(f"an experiment that nobody disturbed ended with {said.exit_code}: {said.last_line}")
        return time.monotonic() - began


def look(moment: Moment, at_s: float, folder: Path, engine: Engine | None) -> Seen:
    """Start an experiment, send the signal, and look what is there then; at last measure what is left."""
    engine = engine if "docker" in moment.deployments else None
    seen = Seen(moment, at_s)
    with ExitStack() as stack:
        place = ExperimentFolder(Path(stack.enter_context(TemporaryDirectory(dir=folder))))
        stack.callback(place.kill_all)
        stack.enter_context(bystanders(engine, BYSTANDER))
        stranger = stack.enter_context(subprocess.Popen(["sleep", "3600"], stdin=subprocess.DEVNULL))
        stack.callback(stranger.kill)
        foreign = place.results / "notes.txt"
        foreign.write_text(FOREIGN_TEXT)
        before = on_engine(engine)

        experiment = place.new(moment.deployments, ports())
        time.sleep(max(0.0, experiment.began_s + at_s - time.monotonic()))
        seen.was_late = experiment.process.poll() is not None
        sent_s = time.monotonic()
        experiment.send(moment.number)
        try:
            said = experiment.wait(LONGEST_END_S)
        except subprocess.TimeoutExpired:
            seen.broken.append(f"it did not end: it still ran {LONGEST_END_S:.0f} s after the signal")
            return seen
        seen.end_s = time.monotonic() - sent_s
        folders = [each for each in place.folders() if (each / EXPERIMENT_FILE).is_file()]
        seen.was_early = not folders
        if seen.was_late:
            return seen
        if moment.number is signal.SIGKILL:
            down = place.start("down", "--all").wait()
            if down.exit_code != 0:
                seen.broken.append(f"down --all failed: {down.last_line}")
        else:
            seen.broken += why_not_clean(said, moment.number, is_begun=bool(folders))
        seen.broken += what_is_left(place, before, on_engine(engine))
        for left in folders:
            again = place.start("run", "--resume", str(left)).wait()
            seen.resumed = again.exit_code in DONE and is_measured(left)
            if not seen.resumed:
                seen.broken.append(f"--resume failed: exit code {again.exit_code}, {again.last_line}")
        seen.broken += what_is_left(place, before, on_engine(engine)) if folders else []
        if stranger.poll() is not None or foreign.read_text() != FOREIGN_TEXT:
            seen.broken.append("a foreign process or file was touched")
    return seen


def why_not_clean(said: Said, number: signal.Signals, *, is_begun: bool) -> list[str]:
    """What is wrong with the way in which an interrupted experiment ended.

    Before it has made its folder, a signal may end it as it ends any program.
    """
    allowed = {INTERRUPTED} if is_begun else {INTERRUPTED, -number}
    broken = []
    if said.exit_code not in allowed:
        broken.append(f"the exit code is not {INTERRUPTED}: it is {said.exit_code}; its last line: {said.last_line}")
    if TRACEBACK in said.text:
        broken.append(f"there was a traceback: {said.last_line}")
    return broken


def what_is_left(place: ExperimentFolder, before: dict[str, str], after: dict[str, str]) -> list[str]:
    """What is of ours and still there, and what is foreign and not as it was."""
    broken = [f"something is left: {', '.join(left)}" for left in [place.left_processes()] if left]
    broken += [f"something is left on the engine: {what}" for what in after if what not in before]
    changed = [what for what in before if after.get(what) != before[what]]
    return broken + [f"something foreign was touched: {what}" for what in changed]


def ports() -> dict[str, int]:
    """Ports that nobody uses just now."""
    with socket.create_server(("127.0.0.1", 0)) as first, socket.create_server(("127.0.0.1", 0)) as second:
        return {"host": first.getsockname()[1], "docker": second.getsockname()[1]}


def why_not() -> str | None:
    return why_no_packages("locust", "psutil", "pandas")


FAULTS: Sequence[Fault] = (
    Fault(
        "signals",
        "Ctrl-C, SIGTERM or SIGKILL at a random moment of an experiment",
        "nothing foreign is touched; nothing of ours is left, after SIGKILL once `down --all` has run; `--resume` "
        "measures the rest",
        measure,
        why_not,
    ),
)
