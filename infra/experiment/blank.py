"""The blank, as in chemistry: what the load generator itself adds to each response time, on this machine.

One user of the plan's user class sends the texts to a responder that answers at once, with an answer of the service.
More users would saturate the generator, which no load of an experiment does.
"""

from __future__ import annotations

import csv
import http.client
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, cast

import addresses
from infra.environment import for_python
from infra.errors import DeploymentError, why
from infra.experiment.load import REQUESTS_FAILED_EXIT_CODE, end, started_locust
from infra.last_words import last_error, last_line, tail
from infra.paths import ROOT
from runfiles.events import FAILED, STATUS_MEASURED
from runfiles.files import BLANK_FOLDER, LOAD, RUN_RECORD_SUFFIX
from runfiles.records import BlankRecord, RunRecord

TEXTS_FILE = ROOT / "texts" / "reviews.csv"
ANSWER_FILE = "answer.http"
"""What the responder answers with, beside the files of the run."""

WARM_UP_S, RUN_TIME_S = 0.5, 2
"""``RUN_TIME_S`` includes the warm-up."""

ANSWER_S = 30
LONGEST_RUN_S = 60
"""Locust takes some seconds to start; after this time it hangs."""

HEADERS = {"Content-Type": "application/json", "Accept": "text/csv"}
FRAMING = frozenset({"connection", "content-length", "keep-alive", "trailer", "transfer-encoding"})
"""The header fields that say where an answer ends, and whether the connection does."""


def measure_blank(
    folder: Path, url: str, user_class: str, show: Callable[[str], None], generator_cpus: str | None
) -> BlankRecord:
    """Measure the blank while a deployment answers at ``url``. Its files lie in the folder ``BLANK_FOLDER`` below
    ``folder``, the experiment's. ``show`` is told what is done. ``generator_cpus``: the CPU set of Locust.

    A blank that can't be measured is no error: the record says why. All that was started has ended in any case.
    """
    own = folder / BLANK_FOLDER
    answer = b""
    try:
        own.mkdir(exist_ok=True)
        show("blank: fetching an answer of the service")
        answer = fetch_answer(url)
        (own / ANSWER_FILE).write_bytes(answer)
        with _responder(own / ANSWER_FILE) as port:
            show(f"blank: one user against a responder that answers at once, {RUN_TIME_S} s")
            _run_locust(own / LOAD, user_class, port, generator_cpus)
    except (DeploymentError, OSError, ValueError, subprocess.SubprocessError) as error:
        reason = f"{why(error, own)}; without the blank the client's part is not known: see to that and run again"
        return BlankRecord(status=FAILED, reason=reason, folder=BLANK_FOLDER, answer_bytes=len(answer) or None)
    return BlankRecord(status=STATUS_MEASURED, folder=BLANK_FOLDER, answer_bytes=len(answer))


def fetch_answer(url: str) -> bytes:
    """The service's whole answer to a text of middle length: status line, header fields, body.

    The answer has a length and leaves the connection open, also if the service framed it otherwise.

    Raises:
        DeploymentError: none came, or it is no answer to the text.
    """
    address = addresses.parse(url)
    has_tls = address.scheme == "https"
    connection_class = http.client.HTTPSConnection if has_tls else http.client.HTTPConnection
    connection = connection_class(address.host, address.port, timeout=ANSWER_S)
    try:
        connection.request("POST", f"{address.path}/infer", _middle_body(), HEADERS)
        answer = connection.getresponse()
        body = answer.read()
    except (OSError, http.client.HTTPException) as error:
        where = addresses.without_password(url)
        raise DeploymentError(f"{where} did not answer a text ({error or type(error).__name__})") from error
    finally:
        connection.close()
    if answer.status != http.client.OK:
        raise DeploymentError(
            f"{addresses.without_password(url)} answered a text with status {answer.status} {answer.reason}"
        )
    fields = [(name, value) for name, value in answer.getheaders() if name.lower() not in FRAMING]
    fields.append(("Content-Length", str(len(body))))
    lines = [f"HTTP/1.1 {answer.status} {answer.reason}", *(f"{name}: {value}" for name, value in fields)]
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body


def _middle_body() -> bytes:
    """The request's body for the text of middle length, as the user classes send it."""
    with TEXTS_FILE.open(encoding="utf-8", newline="") as file:
        bodies = [json.dumps({"text": row["text"]}, ensure_ascii=False).encode() for row in csv.DictReader(file)]
    return sorted(bodies, key=len)[len(bodies) // 2]


@contextmanager
def _responder(answer: Path) -> Iterator[int]:
    """The port of a responder that runs as long as the block lasts.

    Raises:
        DeploymentError: it did not start.
    """
    process = subprocess.Popen(
        [sys.executable, "-m", "infra.experiment.responder", "--answer", str(answer.resolve())],
        cwd=ROOT,
        env=for_python(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,  # Ctrl-C is for the experiment, which then ends it
    )
    with process:
        try:
            output = cast(IO[bytes], process.stdout)
            said = output.readline()
            if not said.strip().isdigit():
                words = last_line((said + output.read()).decode("utf-8", "replace"))
                raise DeploymentError(f"the responder did not start: {words}")
            yield int(said)
        finally:
            end(process)


def _run_locust(prefix: Path, user_class: str, port: int, cpus: str | None) -> None:
    """
    Raises:
        DeploymentError: Locust could not run, or a request failed.
        OSError, ValueError: the run's record can't be read.
    """
    arguments = ["--host", f"http://{addresses.LOOPBACK}:{port}", "--replicas", "none"]
    arguments += ["--users", "1", "--spawn-rate", "1", "--warm-up", str(WARM_UP_S), "--run-time", str(RUN_TIME_S)]
    log = prefix.with_name(f"{prefix.name}.log")
    with started_locust(user_class, prefix, arguments, cpus) as process:
        try:
            process.wait(LONGEST_RUN_S)
        except subprocess.TimeoutExpired as error:
            raise DeploymentError(f"Locust did not end in {LONGEST_RUN_S} s; its log is {log}") from error
    run = Path(f"{prefix}{RUN_RECORD_SUFFIX}")
    if process.returncode not in (0, REQUESTS_FAILED_EXIT_CODE) or not run.exists():
        code = process.returncode
        raise DeploymentError(f"Locust ended with exit code {code}: {last_error(tail(log))}; all it said is in {log}")
    record = RunRecord.read(run)
    if process.returncode != 0 or record.failures or not record.requests:
        raise DeploymentError(f"{record.failures} of {record.requests} requests failed; Locust's log is {log}")
