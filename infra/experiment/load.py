"""Locust as a subprocess: its gevent patching never reaches this process, and its files land where they are told."""

from __future__ import annotations

import csv
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import psutil

from addresses import LOOPBACK
from infra import clock
from infra.deployments.cpus import preexec_pin
from infra.deployments.docker_engine import API_FAILURES
from infra.deployments.service import Service
from infra.environment import for_load
from infra.errors import DeploymentError
from infra.last_words import last_error, tail
from infra.paths import ROOT
from runfiles.events import INCOMPLETE, INTERRUPTED, RECORDING_FAILED_EXIT_CODE
from runfiles.files import REQUESTS_SUFFIX, RUN_RECORD_SUFFIX, SINGLE_PASS
from runfiles.lines import tidy
from runfiles.records import FailedText, RunRecord

STOP_S = 20
POLL_S = 0.25
GONE_EVERY_S = 1.0
REQUESTS_FAILED_EXIT_CODE = 1
"""Locust's exit code when requests failed, and also for slips of its own; the run's record tells which."""


class ServiceGone(DeploymentError):
    """A service that the load goes to is gone. ``deployment`` is its name."""

    def __init__(self, deployment: str, reason: str) -> None:
        super().__init__(reason)
        self.deployment = deployment


@dataclass(frozen=True)
class Target:
    """A deployment that Locust loads, and the prefix of the files of its run."""

    deployment: str
    prefix: Path
    service: Service


@dataclass(frozen=True)
class Outcome:
    """What became of a target's run: why it is none (None: it is one), what is wrong with its recording although its
    files are whole, in one sentence each, and how many requests failed."""

    reason: str | None
    faults: list[str]
    failures: int


@dataclass(frozen=True)
class Load:
    """One Locust: its locustfile, the prefix of Locust's own files, further arguments, and the CPU set that it may use
    (None: all processors). ``meanwhile`` is called again and again while it runs; an error that it raises ends Locust.
    """

    locustfile: str
    prefix: Path
    arguments: Sequence[str]
    cpus: str | None = None
    meanwhile: Callable[[], None] = lambda: None


def run_locust(
    load: Load, targets: Sequence[Target], run: Callable[[Load, Sequence[Target]], int] | None = None
) -> dict[str, Outcome]:
    """Run one locustfile headless against one deployment or several. Returns by deployment what became of its run.

    ``run`` runs Locust, maybe elsewhere, and returns its exit code; None: ``run_here``. Locust ends at once when a
    service is gone. Interrupted, it is asked to end, so that its files and ours are whole.

    Raises:
        ServiceGone: a service is gone.
        DeploymentError: Locust could not run, or could not write its files.
    """
    exit_code = (run or run_here)(load, targets)
    refuse_gone(targets)
    log = _log(load.prefix)
    words = last_error(tail(log))
    if exit_code == RECORDING_FAILED_EXIT_CODE:
        raise DeploymentError(f"the recording could not be written: {words}; see to the disk of {load.prefix.parent}")
    if exit_code not in (0, REQUESTS_FAILED_EXIT_CODE):
        raise DeploymentError(f"Locust ended with exit code {exit_code}: {words}; all it said is in {log}")
    recorded = {}
    for target in targets:
        try:
            recorded[target.deployment] = _read_recorded(target.prefix)
        except (OSError, ValueError) as error:
            record = f"{target.prefix.name}{RUN_RECORD_SUFFIX}"
            unread = error.strerror if isinstance(error, OSError) else error
            raise DeploymentError(
                f"Locust ended with exit code {exit_code}, and {record} can't be read ({unread}); "
                f"its last words: {words}; all it said is in {log}"
            ) from error
    if exit_code == REQUESTS_FAILED_EXIT_CODE and not any(each.failures for each in recorded.values()):
        raise DeploymentError(f"Locust failed though no request did: {words}; all it said is in {log}")
    is_single_pass = load.locustfile == SINGLE_PASS
    return {target.deployment: _outcome(target, recorded[target.deployment], is_single_pass) for target in targets}


def _outcome(target: Target, recorded: _Recorded, is_single_pass: bool) -> Outcome:
    reason = _why_not_whole(recorded, is_single_pass=is_single_pass)
    if reason is not None:
        first_error = _first_error(target.prefix)
        of_text = f", of {recorded.failed_texts[0]}" if recorded.failed_texts else ""
        first = f"; the first error was: {first_error}{of_text}" if first_error else ""
        reason = f"{reason}{first}; last words of the service: {last_words_of(target.service)}"
    return Outcome(reason, [text for _, text in recorded.faults], recorded.failures)


def run_here(load: Load, targets: Sequence[Target]) -> int:
    """Run Locust on this machine. Returns its exit code.

    Raises:
        ServiceGone: a service is gone, and Locust was ended.
    """
    with started_locust(load.locustfile, load.prefix, load.arguments, load.cpus) as process:
        _wait(process, load, targets)
    return process.returncode


@contextmanager
def started_locust(
    locustfile: str, prefix: Path, arguments: Sequence[str], cpus: str | None
) -> Iterator[subprocess.Popen[bytes]]:
    """Locust, headless, with files that begin with ``prefix``, on the CPU set ``cpus``. It ends with the block at the
    latest."""
    command = [*locust(locustfile), "--csv", str(prefix.resolve()), *arguments]
    if "--processes" in arguments:
        command += for_workers()
    with tempfile.TemporaryDirectory(prefix="fourfold-") as empty, _log(prefix).open("w", encoding="utf-8") as output:
        process = subprocess.Popen(
            command,
            cwd=empty,
            env=for_load(Path(empty)) | clock.for_load(),
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # Ctrl-C is for the experiment, which then asks Locust to end
            preexec_fn=preexec_pin(cpus),  # noqa: PLW1509  it takes no lock that another thread may hold
        )
        with process:
            try:
                yield process
            finally:
                end(process)


def _wait(process: subprocess.Popen[bytes], load: Load, targets: Sequence[Target]) -> None:
    """
    Raises:
        ServiceGone: a service is gone.
    """
    asked_at = time.monotonic()
    while process.poll() is None:
        load.meanwhile()
        time.sleep(POLL_S)
        if time.monotonic() - asked_at >= GONE_EVERY_S:
            asked_at = time.monotonic()
            refuse_gone(targets)
    load.meanwhile()


def refuse_gone(targets: Sequence[Target]) -> None:
    """
    Raises:
        ServiceGone: a service is gone.
    """
    for target in targets:
        if reason := _why_gone(target.service):
            raise ServiceGone(target.deployment, reason)


@dataclass(frozen=True)
class _Recorded:
    """What a run's record says of it: how many requests, how many of them failed, how many texts there are, what ended
    it, the faults of the recording as pairs of kind and text, and the first texts of which a request failed."""

    requests: int
    failures: int
    texts: int
    ended_by: str
    faults: tuple[tuple[str, str], ...]
    failed_texts: tuple[FailedText, ...]


def _read_recorded(prefix: Path) -> _Recorded:
    """
    Raises:
        OSError, ValueError: there is no record, or it does not tell of a run that has ended.
    """
    record = RunRecord.read(Path(f"{prefix}{RUN_RECORD_SUFFIX}"))
    if record.ended_at_unix_s is None:
        raise ValueError("it does not tell of an end")
    requests, failures, texts = record.requests, record.failures, record.texts.count
    if requests is None or failures is None or not texts:
        raise ValueError("it does not tell requests, failures and texts.count")
    faults = tuple((fault.kind, tidy(fault.text)) for fault in record.faults)
    return _Recorded(requests, failures, texts, tidy(str(record.ended_by)), faults, record.failed_texts)


def _why_not_whole(recorded: _Recorded, *, is_single_pass: bool) -> str | None:
    """Why a run is none whose figures can be used, whatever the reason; None where it is one."""
    if recorded.requests == 0:
        return "no request was recorded"
    if recorded.failures >= recorded.requests:
        return f"all {recorded.requests} requests failed"
    if is_single_pass and recorded.requests % recorded.texts:
        return f"the single pass sent {recorded.requests} requests for {recorded.texts} texts"
    if recorded.ended_by == INTERRUPTED:
        return f"the run was interrupted after {recorded.requests} requests, before its end"
    return next((text for kind, text in recorded.faults if kind == INCOMPLETE), None)


def _first_error(prefix: Path) -> str | None:
    """Why the first request that failed did so; None where none did, or the rows can't be read."""
    try:
        with Path(f"{prefix}{REQUESTS_SUFFIX}").open(encoding="utf-8", errors="replace", newline="") as file:
            return next((tidy(row["error"]) for row in csv.DictReader(file) if row.get("error")), None)
    except (OSError, csv.Error):
        return None


def _why_gone(service: Service) -> str | None:
    """Why the service is gone; an engine that does not answer for a moment is no reason."""
    try:
        return service.gone()
    except API_FAILURES:
        return None


def last_words_of(service: Service) -> str:
    try:
        return service.last_words()
    except API_FAILURES as error:
        return f"the engine does not tell ({tidy(str(error))})"


def _log(prefix: Path) -> Path:
    """Where all is that Locust says."""
    return prefix.with_name(prefix.name + ".log")


def locust(locustfile: str) -> list[str]:
    """The command that runs a locustfile headless.

    Its standard input has to be a pipe. Locust ends when nobody holds the other end any more, however we ended.
    """
    file = str(ROOT / "locustfiles" / f"{locustfile}.py")
    return [sys.executable, "-m", "locust", "--locustfile", file, "--headless", "--only-summary", "--end-with-stdin"]


def for_workers() -> list[str]:
    """Where Locust's workers find their master: on loopback only, and not at the port that another Locust of this
    machine may have."""
    with socket.create_server((LOOPBACK, 0)) as server:
        port = str(server.getsockname()[1])
    return ["--master-bind-host", LOOPBACK, "--master-bind-port", port, "--master-port", port]


def end_leftovers(folder: Path) -> list[int]:
    """End each Locust that still writes below ``folder``, since the experiment that started it was killed; their IDs.

    It would write over the files of those who come after it.

    Raises:
        DeploymentError: one is another user's.
    """
    left = []
    for process in psutil.process_iter():
        try:
            command = process.cmdline()
        except psutil.Error:
            continue
        if "locust" in command and any(_is_prefix_in(folder, argument) for argument in command):
            left.append(process)
    for process in left:
        try:
            process.terminate()
        except psutil.NoSuchProcess:
            continue
        except psutil.AccessDenied as error:
            what = f"load generator {process.pid}, which was left, is {process.username()}'s"
            raise DeploymentError(f"{what}; end it as that user and run again") from error
    _, deaf = psutil.wait_procs(left, STOP_S)
    for process in deaf:
        with suppress(psutil.NoSuchProcess):
            process.kill()
    psutil.wait_procs(deaf, STOP_S)
    return [process.pid for process in left]


def _is_prefix_in(folder: Path, argument: str) -> bool:
    """Whether it is the prefix of a run of an experiment: of a round's, or of the blank's."""
    above = Path(argument).parent.parent
    return folder in (above, above.parent)


def end(process: subprocess.Popen[bytes]) -> None:
    """End a process that may have ended."""
    process.terminate()
    try:
        process.wait(STOP_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def first_rows(prefix: Path, number: int) -> list[dict[str, str]]:
    """The first requests of a run that are in its file by now; whole rows only."""
    try:
        with Path(f"{prefix}{REQUESTS_SUFFIX}").open(encoding="utf-8", errors="replace", newline="") as file:
            return [row for row in islice(csv.DictReader(file), number) if None not in row.values()]
    except (OSError, csv.Error):
        return []


def rows_so_far(prefix: Path, suffix: str = REQUESTS_SUFFIX) -> int:
    """How many rows a CSV file of a run has by now."""
    try:
        return max(0, Path(f"{prefix}{suffix}").read_bytes().count(b"\n") - 1)
    except FileNotFoundError:
        return 0
