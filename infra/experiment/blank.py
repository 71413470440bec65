"""The blank, as in chemistry: what the load generator itself adds to each response time, on this machine.

One user of the plan's user class sends the texts to a responder that answers at once, with an answer of the service.
More users would saturate the generator, which no load of an experiment does.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, cast

import addresses
from infra.deployments.probe import NOT_ANSWERED, ask, why_wrong
from infra.environment import for_python
from infra.errors import DeploymentError, why
from infra.experiment.load import REQUESTS_FAILED_EXIT_CODE, end, started_locust
from infra.last_words import last_error, last_line, tail
from infra.paths import ROOT
from runfiles.events import FAILED, STATUS_MEASURED
from runfiles.files import BLANK_FOLDER, LOAD, RUN_RECORD_SUFFIX
from runfiles.records import BlankRecord, RunRecord
from servicefile.service_file import Request, ServiceFile
from servicefile.texts import requests_of

ANSWER_FILE = "answer.http"
"""What the responder answers with, beside the files of the run."""

WARM_UP_S, RUN_TIME_S = 0.5, 2
"""``RUN_TIME_S`` includes the warm-up."""

ANSWER_S = 30
LONGEST_RUN_S = 60
"""Locust takes some seconds to start; after this time it hangs."""

FRAMING = frozenset({"connection", "content-length", "keep-alive", "trailer", "transfer-encoding"})
"""The header fields that say where an answer ends, and whether the connection does."""


def measure_blank(
    folder: Path,
    service: ServiceFile,
    url: str,
    user_class: str,
    show: Callable[[str], None],
    generator_cpus: str | None,
) -> BlankRecord:
    """Measure the blank while a deployment of the service answers at ``url``.

    Its files lie in the folder ``BLANK_FOLDER`` below ``folder``, the experiment's. ``show`` is told what is done.
    ``generator_cpus``: the CPU set of Locust.

    A blank that can't be measured is no error: the record says why. All that was started has ended in any case.
    """
    own = folder / BLANK_FOLDER
    answer = b""
    try:
        own.mkdir(exist_ok=True)
        show("blank: fetching an answer of the service")
        answer = fetch_answer(url, service.request)
        (own / ANSWER_FILE).write_bytes(answer)
        with _responder(own / ANSWER_FILE) as port:
            show(f"blank: one user against a responder that answers at once, {RUN_TIME_S} s")
            _run_locust(own / LOAD, service, user_class, port, generator_cpus)
    except (DeploymentError, OSError, ValueError, subprocess.SubprocessError) as error:
        reason = f"{why(error, own)}; without the blank the client's part is not known: see to that and run again"
        return BlankRecord(status=FAILED, reason=reason, folder=BLANK_FOLDER, answer_bytes=len(answer) or None)
    return BlankRecord(status=STATUS_MEASURED, folder=BLANK_FOLDER, answer_bytes=len(answer))


def fetch_answer(url: str, request: Request) -> bytes:
    """The service's whole answer to a text of middle length: status line, header fields, body.

    The answer has a length and leaves the connection open, also if the service framed it otherwise.

    Raises:
        DeploymentError: none came, or it is no answer to the text.
    """
    texts = sorted(requests_of(request), key=lambda text: len(text.target) + len(text.body))
    where = addresses.without_password(url)
    try:
        reply = ask(url, request, texts[len(texts) // 2], ANSWER_S)
    except NOT_ANSWERED as error:
        raise DeploymentError(f"{where} did not answer a text ({error or type(error).__name__})") from error
    if reason := why_wrong(reply, request):
        raise DeploymentError(f"{where} did not answer a text as it should: {reason}")
    fields = [(name, value) for name, value in reply.headers if name.lower() not in FRAMING]
    fields.append(("Content-Length", str(len(reply.body))))
    lines = [f"HTTP/1.1 {reply.status} {reply.reason}", *(f"{name}: {value}" for name, value in fields)]
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + reply.body


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


def _run_locust(prefix: Path, service: ServiceFile, user_class: str, port: int, cpus: str | None) -> None:
    """
    Raises:
        DeploymentError: Locust could not run, or a request failed.
        OSError, ValueError: the run's record can't be read.
    """
    arguments = ["--host", f"http://{addresses.LOOPBACK}:{port}", "--replicas", "none"]
    arguments += ["--service", str(service.path)]
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
