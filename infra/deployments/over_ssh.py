"""An engine at ``ssh://``: the ssh command of this machine connects to it, with the user's own keys and settings.

One connection forwards the engine's socket to a socket of this machine. docker-py, the docker command and the monitor
all use that one: each of them would else begin a new connection for each call, and that costs CPU on both machines
while the load runs. It also ends a call in time if the other machine no longer answers.

A second connection for each deployment forwards its port, see ``reach.py``.
"""

from __future__ import annotations

import atexit
import json
import shlex
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from infra import environment
from infra.errors import DeploymentError
from infra.last_words import last_line, tail
from runfiles.ssh_command import FAILED_EXIT_CODE, PYTHON, SCHEME, place_of, ssh

ASK_S = 90
"""For one command on the other machine. An emulated one is slow."""

END_S = 5
NO_PROGRAM_EXIT_CODE = 127
"""A shell's: there is no such program."""

READY = b"ready\n"


@dataclass
class _Forwarded:
    """The connection that forwards an engine's socket. ``folder`` has the socket of this machine."""

    process: subprocess.Popen[bytes]
    folder: Path

    @property
    def url(self) -> str:
        return f"unix://{self.folder / 'docker.sock'}"


_forwarded: dict[str, _Forwarded] = {}
"""By the URL of the engine. They end with this program, however it ends."""


def is_over_ssh(url: str) -> bool:
    return urlsplit(url).scheme == SCHEME


def by_hand(url: str) -> str:
    """The ssh command that a person would type."""
    port = urlsplit(url).port
    return f"ssh {'' if port is None else f'-p {port} '}{place_of(url)}"


def forwarded(url: str) -> str:
    """The socket of this machine that leads to the engine at ``url``, as a URL. The docker commands and Locust that are
    started from now on use it too.

    Raises:
        DeploymentError: the other machine can't be reached; with the remedy.
    """
    known = _forwarded.get(url)
    if known is not None and known.process.poll() is None:
        return known.url
    if known is not None:
        end(known.process)
    if shutil.which(SCHEME) is None:
        raise DeploymentError(f"the engine is at {url}, and there is no ssh command; install openssh-client")
    path = urlsplit(url).path or _engine_socket(url)
    folder = known.folder if known is not None else Path(tempfile.mkdtemp(prefix="fourfold-"))
    with (folder / "ssh.log").open("wb") as said:
        # It lasts as long as `cat` there does, which ends when this program holds the pipe no more.
        forward = ("-L", f"{folder / 'docker.sock'}:{path}")
        process = subprocess.Popen(
            [*ssh(url, *forward), "cat"],
            env=environment.for_docker(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=said,
            start_new_session=True,  # Ctrl-C is for the experiment, which then still has to remove what it started
        )
    _forwarded[url] = _Forwarded(process, folder)
    if not _has_begun(process):
        end(process)
        raise DeploymentError(_why_not_reached(url, why_ended(url)))
    environment.use_engine_at(_forwarded[url].url)
    return _forwarded[url].url


def why_ended(url: str) -> str:
    """The last line that the connection to an engine has written."""
    known = _forwarded.get(url)
    return last_line("" if known is None else tail(known.folder / "ssh.log"))


def why_not_asked(url: str, command: str, asked: subprocess.CompletedProcess[str]) -> str:
    """Why a command on the other machine has failed, with the remedy."""
    said = last_line(asked.stderr) if asked.stderr.strip() else f"exit code {asked.returncode}"
    if asked.returncode == FAILED_EXIT_CODE:
        return _why_not_reached(url, said)
    return f"{command} fails on {place_of(url)}: {said}"


def ask(url: str, command: str, said: str = "", within_s: float = ASK_S) -> subprocess.CompletedProcess[str]:
    """Run a command on the machine of an engine's URL. ``said``: its standard input.

    Raises:
        DeploymentError: it takes too long.
    """
    done = _ask(url, command, said.encode(), within_s)
    return subprocess.CompletedProcess(
        done.args, done.returncode, done.stdout.decode("utf-8", "replace"), done.stderr.decode("utf-8", "replace")
    )


def _ask(url: str, command: str, said: bytes, within_s: float = ASK_S) -> subprocess.CompletedProcess[bytes]:
    try:
        return subprocess.run(
            [*ssh(url), command],
            env=environment.for_docker(),
            input=said,
            capture_output=True,
            timeout=within_s,
            start_new_session=True,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise DeploymentError(
            f"{place_of(url)} has not answered within {within_s:g} s; check it and run again"
        ) from error


def ask_program(url: str, program: str, question: Mapping[str, Any], within_s: float = ASK_S) -> dict[str, Any]:
    """Run a Python program on the machine of an engine's URL. It gets ``question`` as a line of JSON, and its last line
    is its answer, in JSON too.

    Raises:
        DeploymentError: the machine can't be reached, or the program fails there.
    """
    asked = ask(url, PYTHON, lines_for(program, question), within_s)
    if asked.returncode == NO_PROGRAM_EXIT_CODE:
        raise DeploymentError(f"there is no python3 on {place_of(url)}; install it there and run again")
    if asked.returncode != 0:
        raise DeploymentError(why_not_asked(url, "python3", asked))
    answer: dict[str, Any] = json.loads(asked.stdout.splitlines()[-1])
    return answer


def lines_for(program: str, question: Mapping[str, Any]) -> str:
    """What ``PYTHON`` reads: a program, and its question."""
    return f"{json.dumps(program)}\n{json.dumps(question)}\n"


def fetch(url: str, path: str) -> bytes | None:
    """The content of a file on the machine of an engine's URL; None: there is no such file.

    Raises:
        DeploymentError: the machine can't be reached, or the file can't be read.
    """
    quoted = shlex.quote(path)
    got = _ask(url, f"test ! -e {quoted} || {{ echo; cat {quoted}; }}", b"")
    if got.returncode != 0:
        said = subprocess.CompletedProcess(got.args, got.returncode, "", got.stderr.decode("utf-8", "replace"))
        raise DeploymentError(why_not_asked(url, f"cat {quoted}", said))
    return got.stdout[1:] if got.stdout else None


def _engine_socket(url: str) -> str:
    """Where the engine of the other machine listens there, as its docker command says.

    Raises:
        DeploymentError: the machine can't be reached, has no docker command, or uses an engine of a third machine.
    """
    asked = ask(url, "docker context inspect --format '{{.Endpoints.docker.Host}}'")
    if asked.returncode != 0:
        reason = why_not_asked(url, "docker context inspect", asked)
        named = "" if asked.returncode == FAILED_EXIT_CODE else f"; name its socket ({url}/var/run/docker.sock)"
        raise DeploymentError(f"{reason}{named}")
    found = urlsplit(asked.stdout.strip())
    if found.scheme != "unix":
        raise DeploymentError(
            f"the docker command on {place_of(url)} uses an engine at {asked.stdout.strip()}; name a socket of that "
            f"machine ({url}/var/run/docker.sock) and run again"
        )
    return found.path


def _why_not_reached(url: str, said: str) -> str:
    return (
        f"no SSH connection to {place_of(url)}, where the engine is: {said}; it must work "
        f"without a question ({by_hand(url)} true), with a key and a known host; see to that and run again"
    )


def _has_begun(process: subprocess.Popen[bytes]) -> bool:
    """Whether `cat` on the other machine gives back what it gets. ssh forwards before it starts that."""
    if process.stdin is None or process.stdout is None:
        return False
    with suppress(BrokenPipeError):
        process.stdin.write(READY)
        process.stdin.flush()
    return process.stdout.readline() == READY


def close() -> None:
    """End the connections to engines."""
    for known in _forwarded.values():
        end(known.process)
        shutil.rmtree(known.folder, ignore_errors=True)
    _forwarded.clear()
    environment.use_engine_at(None)


atexit.register(close)


def end(process: subprocess.Popen[bytes]) -> None:
    """End a connection that this program has begun."""
    process.terminate()
    try:
        process.wait(END_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            with suppress(BrokenPipeError):  # it may still hold what could not be written
                pipe.close()
