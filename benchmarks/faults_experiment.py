"""A short experiment for the faults that hit one: started as a person does, ended in some way, looked at afterwards."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from benchmarks.needs import why_no_image
from infra.deployments.docker_engine import API_FAILURES, Engine, connect
from infra.errors import DeploymentError
from infra.paths import ROOT
from runfiles.events import STATUS_MEASURED
from runfiles.files import EXPERIMENT_FILE
from servicefile.service_file import read_service

IMAGE = str(read_service().image)
QUICK = ("seconds=2", "warm_up_s=0", "rest_s=0", "users=2", "block_s=0.5")
DONE = (0, 3)
"""Exit codes of an experiment that measured all of its plan; 3: so short a load is not valid on a busy machine."""
INTERRUPTED = 130
LONGEST_S = 300.0
GONE_WITHIN_S = 20.0
TRACEBACK = "Traceback (most recent call last)"


@dataclass(frozen=True)
class Said:
    """How a command ended, and what it wrote."""

    exit_code: int
    text: str

    @property
    def last_line(self) -> str:
        return next((line for line in reversed(self.text.splitlines()) if line.strip()), "nothing")[:300]


class ExperimentFolder:
    """A folder of our own, in which experiments run. All their processes have it as TMPDIR, which tells them apart from
    those of others, and so does the lock for one experiment at a time."""

    def __init__(self, folder: Path, python: str = sys.executable) -> None:
        self.results = folder / "results"
        self._folder = folder
        self._python = python
        self._temporary = folder / "tmp"
        for each in (self.results, self._temporary):
            each.mkdir(exist_ok=True)

    def start(self, *arguments: str) -> Running:
        """``python -m infra`` in a process group of its own, as a terminal starts it."""
        return Running([self._python, "-m", "infra", *arguments], self._environment(), self._folder / "said.txt")

    def new(self, deployments: Sequence[str], ports: Mapping[str, int], rounds: int = 1) -> Running:
        """A new experiment, as short as it can be."""
        options = ["--only", ",".join(deployments), "--results", str(self.results), "--image", IMAGE]
        for name in deployments:
            options += ["--port", f"{name}={ports[name]}"]
        return self.start("run", *options, "--set", f"rounds={rounds}", *QUICK)

    def run(self, *arguments: str) -> Said:
        """Another command of Fourfold's, such as ``-m analysis FOLDER``, to its end."""
        done = subprocess.run(
            [self._python, *arguments],
            cwd=ROOT,
            env=self._environment(),
            capture_output=True,
            text=True,
            errors="replace",
            timeout=LONGEST_S,
            check=False,
        )
        return Said(done.returncode, done.stdout + done.stderr)

    def folders(self) -> list[Path]:
        """The experiments' folders."""
        return sorted(path for path in self.results.iterdir() if path.is_dir())

    def processes(self) -> list[psutil.Process]:
        """All that runs of the experiments here, whoever started it."""
        found = []
        for process in psutil.process_iter():
            with suppress(psutil.Error):
                if process.environ().get("TMPDIR") == str(self._temporary) and not _is_dead(process):
                    found.append(process)
        return found

    def left_processes(self) -> list[str]:
        """What still runs after a while, in words."""
        until = time.monotonic() + GONE_WITHIN_S
        while (left := self.processes()) and time.monotonic() < until:
            time.sleep(0.2)
        return [_named(process) for process in left]

    def kill_all(self) -> None:
        """SIGKILL each process of the experiments here."""
        while found := self.processes():
            for process in found:
                with suppress(psutil.NoSuchProcess):
                    process.kill()
            psutil.wait_procs(found, 5)

    def _environment(self) -> dict[str, str]:
        return os.environ | {"TMPDIR": str(self._temporary), "INFERENCE_MODEL": str(ROOT / "inference/bundled_model")}


class Running:
    """A command that runs, and what it says."""

    def __init__(self, command: Sequence[str], environment: Mapping[str, str], said: Path) -> None:
        self.began_s = time.monotonic()
        self._said = said
        with said.open("wb") as output:
            self.process = subprocess.Popen(
                command,
                cwd=ROOT,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=_take_ctrl_c,  # noqa: PLW1509  it takes no lock that another thread may hold
            )

    def wait(self, longest_s: float = LONGEST_S) -> Said:
        """
        Raises:
            subprocess.TimeoutExpired: it has not ended.
        """
        self.process.wait(longest_s)
        return Said(self.process.returncode, self._said.read_text(encoding="utf-8", errors="replace"))

    def send(self, number: signal.Signals) -> None:
        """Ctrl-C goes to the whole process group, as a terminal sends it; other signals go to the command alone."""
        with suppress(ProcessLookupError):
            if number is signal.SIGINT:
                os.killpg(self.process.pid, number)
            else:
                self.process.send_signal(number)


def _take_ctrl_c() -> None:
    """A shell has what it starts in the background ignore Ctrl-C, and children would inherit that."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def is_measured(folder: Path) -> bool:
    """Whether an experiment's record tells that all its rounds were measured, and its page is there."""
    with suppress(OSError, ValueError, KeyError):
        record: dict[str, Any] = json.loads((folder / EXPERIMENT_FILE).read_text(encoding="utf-8"))
        planned = [each for each in record["deployments"] if each["name"] in record["plan"]["deployments"]]
        rounds = [each["status"] for deployment in planned for each in deployment["rounds"]]
        return bool(rounds) and set(rounds) == {STATUS_MEASURED} and (folder / "report.html").is_file()
    return False


def why_no_engine() -> str | None:
    """Why no container can be measured here."""
    return why_no_image(IMAGE)


def on_engine(engine: Engine | None) -> dict[str, str]:
    """All that is on an engine, by its ID, and the state it is in."""
    if engine is None:
        return {}
    client = engine.client
    found = {f"network {each.name} {each.id}": "there" for each in client.networks.list()}
    found |= {f"volume {each.name}": "there" for each in client.volumes.list()}
    for container in client.containers.list(all=True):
        found[f"container {container.name} {container.id}"] = f"{container.status} {container.attrs['State']['Pid']}"
    swarm = engine.swarm()
    if swarm.get("ControlAvailable"):
        found |= {f"service {each.name} {each.id}": str(each.version) for each in client.services.list()}
    return found | {"swarm": str(swarm.get("LocalNodeState"))}


@contextmanager
def bystanders(engine: Engine | None, name: str) -> Iterator[None]:
    """A container and a network that are not Fourfold's, as long as the block lasts."""
    if engine is None:
        yield
        return
    network = engine.client.networks.create(name)
    try:
        container = engine.client.containers.run(
            IMAGE, ["sleep", "3600"], name=name, network=network.name, detach=True, init=True
        )
        try:
            yield
        finally:
            container.remove(force=True)
    finally:
        network.remove()


def engine_here() -> Engine | None:
    """The engine, if it answers and has the image."""
    if why_no_engine() is not None:
        return None
    try:
        return connect()
    except (DeploymentError, *API_FAILURES):
        return None


def _is_dead(process: psutil.Process) -> bool:
    return bool(process.status() == psutil.STATUS_ZOMBIE)


def _named(process: psutil.Process) -> str:
    try:
        return f"process {process.pid} ({' '.join(process.cmdline())[:120]})"
    except psutil.Error:
        return f"process {process.pid}"
