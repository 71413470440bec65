"""The real service as a process, a client that asks it at a constant rate, and what the metrics file says then."""

from __future__ import annotations

import csv
import http.client
import json
import os
import re
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from benchmarks.rounds import free_port

ROOT = Path(__file__).resolve().parents[1]

START_TIMEOUT_S, STOP_TIMEOUT_S = 60, 40
ANSWER_TIMEOUT_S = 30.0
POLL_S = 0.02

WITHOUT_ROOTS_RIGHTS = ("setpriv", "--bounding-set", "-dac_override,-dac_read_search")
"""Root that has to ask for permission as everybody else."""

NO_ANSWER = 0
"""The status of a request that got none."""

NUMBER = re.compile(r"Number (\d+) ")


@dataclass(frozen=True)
class Running:
    """A service that is ready."""

    port: int
    metrics: Path
    log: Path
    process: subprocess.Popen[bytes]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def said(self) -> str:
        return self.log.read_text(encoding="utf-8", errors="replace")

    def stop(self) -> int:
        """Its exit code after SIGTERM; -9 if it has to be killed."""
        self.process.terminate()
        try:
            return self.process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            return self.process.wait()


@contextmanager
def service(folder: Path, metrics: Path, before: Sequence[str] = ()) -> Iterator[Running]:
    """``python -m inference`` with the bundled model. ``before``: the beginning of the command line.

    Raises:
        DeploymentError: it does not start.
    """
    from infra.deployments.ready import until_ready
    from infra.environment import for_service
    from infra.errors import DeploymentError
    from servicefile.service_file import read_service

    port = free_port()
    own = {"HOST": "127.0.0.1", "PORT": str(port), "METRICS_LOG_FILE": str(metrics), "REPLICA_NAME": "faults"}
    inherited = {name: value for name, value in for_service().items() if not name.startswith("INFERENCE_")}
    environment = inherited | own | {"INFERENCE_MODEL": str(ROOT / "inference" / "bundled_model")}
    log = folder / "service.log"
    with log.open("wb") as output:
        command = [*before, sys.executable, "-m", "inference"]
        process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=output, stderr=subprocess.STDOUT)
    running = Running(port, metrics, log, process)

    def evidence() -> str:
        if process.poll() is not None:
            raise DeploymentError(f"the service ended with exit code {process.returncode}: {running.said()[-1500:]}")
        return running.said()[-1500:]

    try:
        until_ready(running.url, read_service(), START_TIMEOUT_S, evidence)
        yield running
    finally:
        running.stop()


@contextmanager
def working_folder() -> Iterator[Path]:
    """A folder for the files of one fault."""
    with tempfile.TemporaryDirectory(prefix="fourfold-faults-") as name:
        yield Path(name)


@dataclass(frozen=True)
class Answer:
    """What became of a request. ``at_s`` is when it was due, by the monotonic clock; ``took_s`` counts from then."""

    number: int
    at_s: float
    took_s: float
    status: int
    is_problem: bool = False
    """The answer is a problem document."""


def text_of(number: int) -> str:
    """A text that only this number has. It needs quoting, and its end is known."""
    return f'Number {number} was "good",\nthey said{" very" * (number % 40)} often.'


@dataclass
class Client:
    """Asks a service at a constant rate over a connection that is kept, each time about another text."""

    port: int
    rate_per_s: float
    answers: list[Answer] = field(default_factory=list)
    _ends: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None

    def begin(self) -> None:
        self._thread = threading.Thread(target=self._ask_all, daemon=True)
        self._thread.start()

    def end(self) -> None:
        self._ends.set()
        if self._thread is not None:
            self._thread.join(ANSWER_TIMEOUT_S)

    def until(self, condition: Callable[[Answer], bool], timeout_s: float) -> Answer | None:
        """The first answer from now on that meets a condition; None if there is none in time."""
        seen, until_s = len(self.answers), time.monotonic() + timeout_s
        while time.monotonic() < until_s:
            new = self.answers[seen:]
            seen += len(new)
            if (found := next(filter(condition, new), None)) is not None:
                return found
            time.sleep(POLL_S)
        return None

    def _ask_all(self) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=ANSWER_TIMEOUT_S)
        due_s, number = time.monotonic(), len(self.answers)
        while not self._ends.wait(max(0.0, due_s - time.monotonic())):
            status, is_problem = ask(connection, text_of(number))
            self.answers.append(Answer(number, due_s, time.monotonic() - due_s, status, is_problem))
            number += 1
            due_s += 1 / self.rate_per_s
        connection.close()


@contextmanager
def client(port: int, rate_per_s: float) -> Iterator[Client]:
    """A client that asks in the meantime."""
    asking = Client(port, rate_per_s)
    asking.begin()
    try:
        yield asking
    finally:
        asking.end()


def ask(connection: http.client.HTTPConnection, text: str) -> tuple[int, bool]:
    """The status of the answer, and whether it is a problem document."""
    try:
        headers = {"Content-Type": "application/json", "Accept": "text/csv"}
        connection.request("POST", "/infer", json.dumps({"text": text}), headers)
        answer = connection.getresponse()
        answer.read()
    except (OSError, http.client.HTTPException):
        connection.close()
        return NO_ANSWER, False
    return answer.status, answer.headers.get_content_type() == "application/problem+json"


def by_status(answers: Sequence[Answer]) -> str:
    """Such as "200: 31, 500: 4"."""
    counts = Counter(answer.status for answer in answers)
    return ", ".join(f"{status or 'no answer'}: {count:,}" for status, count in sorted(counts.items())) or "none"


@dataclass(frozen=True)
class Rows:
    """What a metrics file says: the numbers of the texts whose rows are whole, and how many rows are not whole."""

    numbers: tuple[int, ...] = ()
    torn: int = 0

    def __add__(self, other: Rows) -> Rows:
        return Rows(self.numbers + other.numbers, self.torn + other.torn)


def read_rows(path: Path) -> Rows:
    """The rows of the metrics file of a service that only a Client asked."""
    content = path.read_text(encoding="utf-8")
    lines = list(csv.reader(content.splitlines(keepends=True)))[1:]
    whole = [number for line in lines if (number := _number(line)) is not None]
    return Rows(tuple(whole), len(lines) - len(whole) + int(not content.endswith("\n")))


def _number(fields: Sequence[str]) -> int | None:
    """Which text a row is about, if the row is whole."""
    if len(fields) != 4 or not (found := NUMBER.match(fields[2])):
        return None
    try:
        float(fields[0]), datetime.fromisoformat(fields[3])
    except ValueError:
        return None
    number = int(found[1])
    return number if fields[1] and fields[2] == text_of(number) else None


def why_rows_differ(rows: Rows, answers: Sequence[Answer], file: str = "the metrics file") -> list[str]:
    """A sentence for each way in which a metrics file does not agree with what clients were answered."""
    answered = {answer.number for answer in answers if answer.status == 200}
    wrong = []
    if rows.torn:
        wrong.append(f"{rows.torn} rows of {file} are torn.")
    if missing := answered - set(rows.numbers):
        wrong.append(f"{len(missing)} of {len(answered)} requests answered with 200 have no row in {file}.")
    if extra := len(rows.numbers) - len(answered & set(rows.numbers)):
        wrong.append(f"{file.capitalize()} has {extra} rows twice or of requests that were not answered with 200.")
    return wrong


def why_no_setpriv() -> str | None:
    """Why root can't start a service that has to ask for permission."""
    from benchmarks.needs import why_no_program

    return why_no_program("setpriv") if os.geteuid() == 0 else None


def as_anybody() -> Sequence[str]:
    """The beginning of the command line of a program that may not ignore modes of files."""
    return WITHOUT_ROOTS_RIGHTS if os.geteuid() == 0 else ()


def first_line(said: str, *words: str) -> str:
    """The first line that has one of these words; else the first line."""
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    return next((line for line in lines if any(word in line for word in words)), lines[0] if lines else "nothing")
