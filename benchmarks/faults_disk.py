"""A disk that is full while something is recorded: the service's rows, Locust's files, an experiment."""

from __future__ import annotations

import csv
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.faults_outcome import Fault, Outcome
from benchmarks.faults_running import (
    ROOT,
    Answer,
    Rows,
    by_status,
    client,
    first_line,
    read_rows,
    service,
    why_rows_differ,
    working_folder,
)
from benchmarks.rounds import free_port
from infra.deployments.waiting import until_true

RATE_PER_S = 100
SMALL, LARGER = "64k", "32m"
"""The size of the disk for the service and for Locust; for an experiment."""

WAIT_S, RUN_TIMEOUT_S = 30.0, 120.0
QUICK = ("rounds=2", "users=2", "seconds=8", "block_s=0.5", "warm_up_s=0", "rest_s=0")
FULL_WORDS = ("disk is full", "No space left")
REMEDIES = ("make room", "free space")

MISSING_ROWS = re.compile(r"the last (\d+) rows are missing")


@dataclass(frozen=True)
class Ended:
    """A program that has ended, and all that it said."""

    code: int
    said: str


def measure(short: bool) -> Outcome:
    experiment = _experiment_that_begins_on_full_disk() if short else _experiment_on_full_disk()
    parts = [_service_on_full_disk(short), _locust_on_full_disk(short), experiment]
    figures = {words: value for part in parts for words, value in part.figures.items()}
    return Outcome(figures, tuple(sentence for part in parts for sentence in part.broken))


def _service_on_full_disk(short: bool) -> Outcome:
    """The disk of the metrics file is full for a while; and full again when the service is stopped."""
    with working_folder() as folder, small_disk(folder / "disk", SMALL) as disk:
        path = disk / "metrics.csv"
        with service(folder, path) as running, client(running.port, RATE_PER_S) as asking:
            asking.until(lambda answer: answer.status == 200, WAIT_S)
            time.sleep(0.5)
            filler = fill(disk)
            began_s = time.monotonic()
            asking.until(lambda answer: answer.status == 500, WAIT_S)
            time.sleep(1.0 if short else 5.0)
            while_full, until_s = read_rows(path), time.monotonic()
            filler.unlink()
            back = asking.until(lambda answer: answer.status == 200, WAIT_S)
            time.sleep(0.5)
            fill(disk)
            asking.until(lambda answer: answer.status == 500, WAIT_S)
            asking.end()
            ended = Ended(running.stop(), running.said())
        after = read_rows(path)
    meanwhile = [answer for answer in asking.answers if began_s <= answer.at_s <= until_s]
    return judged_service(asking.answers, meanwhile, back, while_full, after, ended)


def judged_service(
    answers: Sequence[Answer],
    meanwhile: Sequence[Answer],
    back: Answer | None,
    while_full: Rows,
    after: Rows,
    ended: Ended,
) -> Outcome:
    """What came of the service. ``while_full`` is what its file said meanwhile, ``after`` what it said in the end."""
    told = int(found[1]) if (found := MISSING_ROWS.search(ended.said)) else 0
    answered = {answer.number for answer in answers if answer.status == 200}
    missing = len(answered - set(after.numbers))
    broken = why_unclear("the service", ended.said, "metrics.csv")
    broken += [sentence for sentence in why_rows_differ(after, answers) if "have no row" not in sentence]
    if missing != told:
        broken.append(f"{missing} rows are missing from the metrics file, and the log says {told}.")
    if while_full.torn:
        broken.append(f"While the disk is full, {while_full.torn} rows of the metrics file are torn.")
    if not any(answer.status == 500 for answer in meanwhile):
        broken.append("The service did not answer with 500 while its disk was full.")
    if back is None:
        broken.append(f"There was no 200 within {WAIT_S:g} s after there was room again.")
    if ended.code != 0:
        broken.append(f"The service ended with exit code {ended.code}.")
    figures = {
        "service: answers meanwhile": by_status(meanwhile),
        "service: rows written whole": len(after.numbers),
        "service: torn rows": while_full.torn + after.torn,
        "service: rows missing, as told, after it was stopped on a full disk": missing,
        "service: exit code": ended.code,
        "service says": without_folder(first_line(ended.said, "can't be written")),
    }
    return Outcome(figures, tuple(broken))


def _locust_on_full_disk(short: bool) -> Outcome:
    """The disk of Locust's files is full to the end of the run."""
    from infra.environment import for_load

    with (
        working_folder() as folder,
        small_disk(folder / "disk", SMALL) as disk,
        service(folder, folder / "m.csv") as running,
    ):
        command = [sys.executable, "-m", "locust", "-f", str(ROOT / "locustfiles" / "keep_alive.py"), "--headless"]
        command += ["--host", running.url, "--csv", str(disk / "run"), "--only-summary", "-u", "2", "-r", "2"]
        command += ["-t", "4" if short else "15", "--replica-interval", "0.1"]
        command += ["--replicas", f"process:{running.process.pid}"]
        log = folder / "locust.log"
        with log.open("w") as output:
            locust = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, env=for_load(folder))
        with _ended_in_any_case(locust):
            requests = disk / "run_requests.csv"
            until_true(lambda: requests.exists() and requests.stat().st_size > 0, WAIT_S)
            fill(disk)
            code = locust.wait(RUN_TIMEOUT_S)
        files = {path.name: read_table(path) for path in sorted(disk.glob("run_*.csv"))}
        return judged_locust(Ended(code, log.read_text(encoding="utf-8")), files, *_as_the_analysis_reads_it(disk))


def _as_the_analysis_reads_it(folder: Path) -> tuple[int, int, str | None]:
    """How many requests a run's record counts, how many rows the analysis reads, and why it can't."""
    from analysis.read.csvs import UnreadableFile
    from analysis.read.records import UnreadableResults
    from analysis.read.runs import read_run

    try:
        run = read_run(folder, "run")
    except (UnreadableFile, UnreadableResults, OSError) as error:
        return 0, 0, str(error)
    return (run.record.requests or 0, len(run.requests), None) if run else (0, 0, "there is no run_run.json")


@dataclass(frozen=True)
class Table:
    """A CSV file: how many rows are whole, and how many are not."""

    whole: int
    torn: int


def judged_locust(ended: Ended, files: dict[str, Table], requests: int, read: int, why_unread: str | None) -> Outcome:
    """What came of a run of Locust. ``requests`` is how many its record counts, ``read`` what the analysis reads."""
    from runfiles.events import RECORDING_FAILED_EXIT_CODE

    rows = files.get("run_requests.csv", Table(0, 0)).whole
    broken = why_unclear("Locust", ended.said, "run_")
    broken += [f"{table.torn} rows of {name} are torn." for name, table in files.items() if table.torn]
    if ended.code != RECORDING_FAILED_EXIT_CODE:
        broken.append(f"Locust ended with exit code {ended.code} instead of {RECORDING_FAILED_EXIT_CODE}.")
    if why_unread is not None:
        broken.append(f"Locust's files can't be analysed ({why_unread}).")
    elif not 0 < rows < requests or read != rows:
        broken.append(f"The record counts {requests} requests, {rows} have a whole row, the analysis reads {read}.")
    elif f"{requests - rows} of {requests} rows" not in ended.said:
        broken.append(f"Locust does not say that {requests - rows} of {requests} rows are lost.")
    return Outcome(
        {
            "Locust: requests": requests,
            "Locust: rows of requests written whole": rows,
            "Locust: rows of its other files": sum(table.whole for table in files.values()) - rows,
            "Locust: torn rows": sum(table.torn for table in files.values()),
            "Locust: exit code": ended.code,
            "Locust says": without_folder(first_line(ended.said, "can't be written")),
        },
        tuple(broken),
    )


def _experiment_that_begins_on_full_disk() -> Outcome:
    """An experiment that begins on a disk that is full. It takes 2 s, and the other one half a minute."""
    with working_folder() as folder, small_disk(folder / "disk", SMALL) as disk:
        fill(disk)
        began = _infra("run", "--only", "host", "--results", str(disk / "results"), "--port", f"host={free_port()}")
        with _ended_in_any_case(began):
            said, _ = began.communicate(timeout=RUN_TIMEOUT_S)
        left = [path.name for path in disk.glob("results/*")]
    broken = why_unclear("The experiment", said, "disk")
    if began.returncode != 1:
        broken.append(f"The experiment ended with exit code {began.returncode} instead of 1.")
    if left:
        broken.append(f"Results of an experiment that has not begun are there ({', '.join(left)}).")
    figures = {
        "experiment: exit code": began.returncode,
        "experiment says": without_folder(first_line(said, *FULL_WORDS)),
    }
    return Outcome(figures, tuple(broken))


def _experiment_on_full_disk() -> Outcome:
    """The disk of the results is full when the second of two rounds is measured; then there is room again."""
    with working_folder() as folder, small_disk(folder / "disk", LARGER) as disk:
        port = f"host={free_port()}"
        began = _infra("run", "--only", "host", "--results", str(disk), "--set", *QUICK, "--port", port)
        with _ended_in_any_case(began):
            until_true(lambda: began.poll() is not None or bool(list(disk.glob("*/host/round-2"))), RUN_TIMEOUT_S)
            filler = fill(disk)
            said, _ = began.communicate(timeout=RUN_TIMEOUT_S)
        ended = Ended(began.returncode, said)
        results = next(disk.glob("*/experiment.json")).parent
        tables = {str(path.relative_to(results)): read_table(path) for path in sorted(results.rglob("*.csv"))}
        on_full = _analyse(results)
        is_page_whole = _is_whole(results / "report.html")
        filler.unlink()
        analysed = _analyse(results)
        again = _infra("run", "--resume", str(results))
        with _ended_in_any_case(again):
            said, _ = again.communicate(timeout=RUN_TIMEOUT_S)
    return judged_experiment(ended, tables, on_full, is_page_whole, analysed, Ended(again.returncode, said))


def judged_experiment(
    ended: Ended, files: dict[str, Table], on_full: Ended, is_page_whole: bool, analysed: Ended, resumed: Ended
) -> Outcome:
    """What came of an experiment. ``resumed`` is how it was continued when there was room again."""
    broken = why_unclear("The experiment", ended.said, "disk")
    broken += [f"{table.torn} rows of {name} are torn." for name, table in files.items() if table.torn]
    if ended.code != 1:
        broken.append(f"The experiment ended with exit code {ended.code} instead of 1.")
    if not is_page_whole:
        broken.append("On the full disk a page was written that is not whole.")
    broken += why_unclear("The analysis on the full disk", on_full.said, "report.html", remedy="name another place")
    broken += why_not_analysed("The experiment", analysed)
    figures: dict[str, object] = {
        "experiment: rows written whole": sum(table.whole for table in files.values()),
        "experiment: torn rows": sum(table.torn for table in files.values()),
        "experiment: exit code": ended.code,
        "experiment says": without_folder(first_line(ended.said, *FULL_WORDS)),
        "analysis: exit code on the full disk, and with room": f"{on_full.code}, {analysed.code}",
        "experiment continued: exit code": resumed.code,
    }
    if resumed.code not in (0, 3) or "Traceback" in resumed.said:
        broken.append(f"The experiment could not be continued (exit code {resumed.code}: {resumed.said[-300:]}).")
    return Outcome(figures, tuple(broken))


def why_unclear(who: str, said: str, file: str, remedy: str | None = None) -> list[str]:
    """A sentence for each thing that is missing where a program says that the disk is full."""
    lines = [line for line in said.splitlines() if any(words in line for words in FULL_WORDS)]
    wrong = []
    if "Traceback" in said:
        wrong.append(f"{who} shows a traceback.")
    if not lines:
        return [*wrong, f"{who} does not say that the disk is full ({said[-200:]})."]
    if not any(file in line for line in lines):
        wrong.append(f"{who} does not name the file ({lines[0]}).")
    if not any(word in line for line in lines for word in ((remedy,) if remedy else REMEDIES)):
        wrong.append(f"{who} names no remedy ({lines[0]}).")
    return wrong


def why_not_analysed(what: str, analysed: Ended) -> list[str]:
    """Why the analysis did not make a page. 3: it did, and says what is not valid."""
    if analysed.code in (0, 3) and "Traceback" not in analysed.said:
        return []
    return [f"{what} can't be analysed (exit code {analysed.code}: {analysed.said[-300:]})."]


def read_table(path: Path) -> Table:
    """How many rows of a CSV file have as many fields as its header, and how many have not or do not end.

    Files of Locust in which nothing happened are empty or have a header only.
    """
    content = path.read_text(encoding="utf-8")
    rows = list(csv.reader(content.splitlines(keepends=True)))
    whole = sum(len(row) == len(rows[0]) for row in rows)
    is_cut = bool(content) and not content.endswith("\n")
    return Table(max(0, whole - 1 - is_cut), len(rows) - whole + is_cut)


def _is_whole(page: Path) -> bool:
    """Whether a page is whole, or not there."""
    return not page.exists() or page.read_text(encoding="utf-8").rstrip().endswith("</html>")


def _infra(*arguments: str) -> subprocess.Popen[str]:
    return _python("-m", "infra", *arguments)


def _analyse(results: Path) -> Ended:
    analysing = _python("-m", "analysis", str(results))
    said, _ = analysing.communicate(timeout=RUN_TIMEOUT_S)
    return Ended(analysing.returncode, said)


def _python(*arguments: str) -> subprocess.Popen[str]:
    """A command of Fourfold, which needs neither a Docker engine nor another model."""
    own = {"DOCKER_HOST": "unix:///nowhere/docker.sock", "INFERENCE_MODEL": str(ROOT / "inference" / "bundled_model")}
    environment = os.environ | own | {"COLUMNS": "500"}
    command = [sys.executable, *arguments]
    return subprocess.Popen(
        command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


@contextmanager
def _ended_in_any_case(process: subprocess.Popen[Any]) -> Iterator[None]:
    """See to it that a program that starts others has ended in the end."""
    try:
        yield
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
            try:
                process.communicate(timeout=60)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def fill(disk: Path) -> Path:
    """Leave no block free; the file that takes them all."""
    filler = disk / "filler"
    with filler.open("ab", buffering=0) as file:
        try:
            while True:
                file.write(bytes(4096))
        except OSError:
            return filler


def without_folder(line: str) -> str:
    """A line without the names of temporary folders, and without what a log puts before it."""
    line = re.sub(r"^\[.*?\] \S+: ", "", line)
    return re.sub(r"[^\s()]*fourfold-faults-[^/\s]*/", "", line)


@contextmanager
def small_disk(path: Path, size: str) -> Iterator[Path]:
    """A file system of its own."""
    path.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "none", path], check=True, capture_output=True)
    try:
        yield path
    finally:
        subprocess.run(["umount", "--lazy", path], check=True, capture_output=True)


def why_no_small_disk() -> str | None:
    if sys.platform != "linux" or os.geteuid() != 0 or shutil.which("mount") is None:
        return "only root on Linux can mount a small disk (tmpfs); run it as root"
    try:
        with working_folder() as folder, small_disk(folder / "disk", SMALL):
            return None
    except subprocess.CalledProcessError as error:
        return f"a small disk can't be mounted here ({error.stderr.decode().strip()}); run it outside of a container"


DISK_FULL = Fault(
    "disk-full",
    "the disk is full while the service, Locust or an experiment writes to it",
    "a message names file and remedy; what was written is whole and can be analysed; missing rows are told",
    measure,
    why_no_small_disk,
)

FAULTS: Sequence[Fault] = (DISK_FULL,)
