"""A power cut: everything of an experiment is killed at once, and the ends of its files are lost. What is whole can be
measured on and read, and what is damaged is named."""

from __future__ import annotations

import random
import shutil
import time
from collections.abc import Collection, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

import pandas as pd

from benchmarks.faults_experiment import DONE, TRACEBACK, ExperimentFolder, Said, is_measured
from benchmarks.faults_outcome import Fault, Outcome
from benchmarks.faults_signals import ports
from benchmarks.needs import why_no_packages
from runfiles.events import INCOMPLETE, ROWS_LOST
from runfiles.files import EXPERIMENT_FILE, RUN_RECORD_SUFFIX

FOLDERS, SHORT_FOLDERS = 40, 4
RESUMED_EACH = 2
"""Each so many folders of an experiment are continued too."""
MOST_CUT_BYTES = 4096
SEED = 40
SPARED = ((), (EXPERIMENT_FILE,), (EXPERIMENT_FILE, RUN_RECORD_SUFFIX))
"""Ends of the names of files that stay whole, by turns: records were written to the disk before the power was cut."""
ROUND_IN_WHICH_IT_ENDS = 2
WHOLE_EXIT_CODES = (0, 2, 3)
"""Exit codes of the analysis: the page was made, a file can't be read, or the page says that it is not valid."""
TELLING = {ROWS_LOST, INCOMPLETE, "unreadable", "cut off", "contradiction"}
"""Kinds of reasons that say that something of a run is missing."""
KEY = ["started_at_unix_s", "response_time_ms", "text_id"]
"""What tells one request from another."""


@dataclass(frozen=True)
class Figures:
    """What the analysis makes of one run: how many measured requests, their median in ms, and its rows."""

    n: int
    median_ms: float
    rows: pd.DataFrame

    def is_as(self, other: Figures) -> bool:
        return self.n == other.n and abs(self.median_ms - other.median_ms) < 1e-9


@dataclass(frozen=True)
class Read:
    """An experiment as the analysis reads it: the figures of each run by deployment, round and name, and by deployment
    the kinds of reasons that make it invalid."""

    runs: Mapping[tuple[str, int, str], Figures]
    kinds: Mapping[str, Collection[str]]


@dataclass
class Seen:
    """What came of one folder."""

    number: int
    is_whole: bool = False
    """Whether the analysis made a page."""
    resumed: bool | None = None
    """None: it was not continued. False: --resume refused, and named the file."""
    wrong: list[str] = field(default_factory=list)
    tracebacks: int = 0
    broken: list[str] = field(default_factory=list)


def measure(short: bool) -> Outcome:
    number, seen = SHORT_FOLDERS if short else FOLDERS, []
    chance = random.Random(SEED)  # noqa: S311  no secret
    with TemporaryDirectory(prefix="fourfold-faults-") as own, ExitStack() as stack:
        place = ExperimentFolder(Path(own))
        stack.callback(place.kill_all)
        recorded = [finished(place)] if short else [finished(place), interrupted(place)]
        whole = [read(folder) for folder in recorded]
        for at in range(number):
            turn, which = divmod(at, len(recorded))
            copy = place.results / f"cut-{at}"
            shutil.copytree(recorded[which], copy)
            cut(copy, chance, SPARED[turn % len(SPARED)])
            seen.append(look(place, at, copy, whole[which], resumes=turn % RESUMED_EACH == 0))
            print(f"    folder {at + 1}: {' '.join(seen[-1].broken) or 'ok'}", flush=True)
            shutil.rmtree(copy)
    return outcome_of(seen)


def outcome_of(seen: Sequence[Seen]) -> Outcome:
    continued = [each.resumed for each in seen if each.resumed is not None]
    figures: dict[str, object] = {
        "folders cut": len(seen),
        "page made": sum(each.is_whole for each in seen),
        "damaged file named instead": sum(not each.is_whole and not each.broken for each in seen),
        "continued": sum(continued),
        "not continued, file named": len(continued) - sum(continued),
        "wrong figures": sum(len(each.wrong) for each in seen),
        "tracebacks": sum(each.tracebacks for each in seen),
    }
    return Outcome(figures, tuple(f"Folder {each.number + 1}: {text}." for each in seen for text in each.broken))


def finished(place: ExperimentFolder) -> Path:
    """An experiment that ran to its end."""
    said = place.new(["host"], ports()).wait()
    if said.exit_code not in DONE:
        raise RuntimeError(f"an experiment that nobody disturbed ended with {said.exit_code}: {said.last_line}")
    return place.folders()[-1]


def interrupted(place: ExperimentFolder) -> Path:
    """An experiment of which all was killed while the load of its second round went on."""
    before = place.folders()
    experiment = place.new(["host"], ports(), rounds=ROUND_IN_WHICH_IT_ENDS)
    load = f"host/round-{ROUND_IN_WHICH_IT_ENDS}/load_requests.csv"
    while experiment.process.poll() is None:
        for folder in set(place.folders()) - set(before):
            if (folder / load).is_file() and (folder / load).read_bytes().count(b"\n") > 1:
                place.kill_all()
                experiment.wait()
                return folder
        time.sleep(0.05)
    raise RuntimeError(f"the experiment ended by itself: {experiment.wait().last_line}")


def cut(folder: Path, chance: random.Random, spared: tuple[str, ...]) -> None:
    """Take the last bytes from each file but those whose names end with one of ``spared``."""
    for path in sorted(folder.rglob("*")):
        if path.is_file() and not path.name.endswith(spared):
            size = path.stat().st_size
            with path.open("r+b") as file:
                file.truncate(max(0, size - chance.randint(0, MOST_CUT_BYTES)))


def look(place: ExperimentFolder, number: int, folder: Path, whole: Read, *, resumes: bool) -> Seen:
    """Analyse a folder that was cut, compare its figures with those of the whole one, and continue it."""
    seen = Seen(number)
    files = {path.name for path in folder.rglob("*") if path.is_file()}
    said = place.run("-m", "analysis", str(folder))
    seen.is_whole = said.exit_code in DONE
    seen.tracebacks += TRACEBACK in said.text
    seen.broken += why_not_told(said, WHOLE_EXIT_CODES, files, "the analysis")
    if seen.is_whole:
        seen.wrong = wrong_figures(whole, read(folder))
        seen.broken += seen.wrong
    if resumes:
        again = place.start("run", "--resume", str(folder)).wait()
        seen.resumed = again.exit_code in DONE
        seen.tracebacks += TRACEBACK in again.text
        seen.broken += why_not_told(again, (*DONE, 1, 2), files, "--resume")
        if seen.resumed and not is_measured(folder):
            seen.broken.append("--resume ended well, but not all rounds are measured")
        if left := place.left_processes():
            seen.broken.append(f"after --resume something is left: {', '.join(left)}")
            place.kill_all()
    return seen


def why_not_told(said: Said, exit_codes: Collection[int], files: Collection[str], who: str) -> list[str]:
    """Why a command did not say what is damaged: it has to end as ``exit_codes`` say, without a traceback, and where it
    refused the folder with a line that names one of its ``files``."""
    if TRACEBACK in said.text:
        return [f"{who} ended with a traceback: {said.last_line}"]
    if said.exit_code not in exit_codes:
        return [f"{who} ended with {said.exit_code}: {said.last_line}"]
    if said.exit_code not in DONE and not any(name in said.text for name in files):
        return [f"{who} refused, but named no file: {said.last_line}"]
    return []


def read(folder: Path) -> Read:
    """What the analysis reads in a folder. Call it where the analysis made a page."""
    from analysis.analyse import measure as measure_results
    from analysis.read.results import read_results

    measured = measure_results(read_results(folder))
    runs = {}
    for deployment in measured.results.deployments:
        for each in deployment.measured_rounds:
            for name, run in (("single pass", each.single_pass), ("load", each.load)):
                if run is not None:
                    times_ms = run.answered["response_time_ms"]
                    figures = Figures(len(times_ms), float(times_ms.median()), run.as_recorded.requests)
                    runs[deployment.name, each.number, name] = figures
    names = [deployment.name for deployment in measured.results.deployments]
    return Read(runs, {name: {doubt.kind for doubt in measured.validity.of(name)} for name in names})


def wrong_figures(whole: Read, cut_off: Read) -> list[str]:
    """The figures that differ from those of the whole folder though nothing says that something is missing, and the
    runs that have rows which were never written."""
    wrong = []
    for key, found in cut_off.runs.items():
        name, number, run = key
        where = f"{name}, round {number}, {run}"
        known = whole.runs.get(key)
        if known is None:
            wrong.append(f"{where} has figures, but it was never measured")
        elif has_other_rows(known.rows, found.rows):
            wrong.append(f"{where} has rows that were never written")
        elif not found.is_as(known) and not TELLING & set(cut_off.kinds[name]):
            wrong.append(f"{where}: {found.n} requests in place of {known.n}, and nothing says so")
    return wrong


def has_other_rows(whole: pd.DataFrame, cut_off: pd.DataFrame) -> bool:
    """Whether ``cut_off`` has requests that ``whole`` has not."""
    return not set(cut_off[KEY].itertuples(index=False, name=None)) <= set(
        whole[KEY].itertuples(index=False, name=None)
    )


def why_not() -> str | None:
    return why_no_packages("locust", "psutil", "pandas")


FAULTS: Sequence[Fault] = (
    Fault(
        "power-cut",
        "All processes of an experiment are killed, and each file loses up to 4096 bytes of its end",
        "`--resume` goes on or names the damaged file; the page has no wrong figure; no traceback",
        measure,
        why_not,
    ),
)
