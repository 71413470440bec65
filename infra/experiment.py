"""The experiment: each deployment in turn, the single pass and then the load, and all of it in one folder."""

from __future__ import annotations

import json
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

import runfiles
from infra.deployments import Running, deployed, why_not
from infra.engine import API_FAILURES, Engine, connect
from infra.errors import DeploymentError
from infra.images import build_image, find_image
from infra.load import run_locust
from infra.settings import ROOT, Settings, kind_of

TEXTS = 160
INTERRUPTED = 130


@dataclass(frozen=True)
class Plan:
    """How much is measured: ``seconds`` of load by ``users`` follow ``warm_up_s`` that enter no figure."""

    users: int
    seconds: int
    warm_up_s: int
    user_class: str


class Journal:
    """``experiment.json``, written anew after each step, so that a run that is cut off can still be analysed."""

    def __init__(self, folder: Path, plan: Plan, names: tuple[str, ...]) -> None:
        self._path = folder / runfiles.EXPERIMENT_FILE
        self._content: dict[str, Any] = {
            "form": runfiles.FORM,
            "started_at": _now(),
            "ended_at": None,
            "command": shlex.join(["python", "-m", "infra", *sys.argv[1:]]),
            "settings": asdict(plan),
            "machine": runfiles.machine_record(),
            "engine": None,
            "git": _git_record(),
            "deployments": [
                {
                    "name": name,
                    "status": "not run",
                    "reason": "the experiment ended before its turn" if name in names else "not asked for (--only)",
                    "folder": name,
                    "seconds_to_healthy": None,
                    "runs": [],
                    "metrics_files": [],
                    "image": None,
                }
                for name in runfiles.DEPLOYMENTS
            ],
        }
        self._write()

    def note(self, name: str, **values: Any) -> None:
        """Set what is known of one deployment."""
        self._entry(name).update(values)
        self._write()

    def add_run(self, name: str, run: str) -> None:
        self._entry(name)["runs"].append(run)
        self._write()

    def note_engine(self, engine: Engine) -> None:
        self._content["engine"] = engine.record()
        self._write()

    def end(self) -> None:
        self._content["ended_at"] = _now()
        self._write()

    def having(self, status: str) -> list[str]:
        """The deployments of which this is known."""
        return [one["name"] for one in self._content["deployments"] if one["status"] == status]

    def _entry(self, name: str) -> dict[str, Any]:
        return next(one for one in self._content["deployments"] if one["name"] == name)

    def _write(self) -> None:
        self._path.write_text(json.dumps(self._content, indent=1) + "\n", encoding="utf-8")


class Experiment:
    """One experiment: where it writes, what it uses, and what it tells the person who waits."""

    def __init__(self, plan: Plan, settings: Settings, names: tuple[str, ...], results: Path, build: bool) -> None:
        self.console = Console(highlight=False)
        self.folder = _make_folder(results)
        self.journal = Journal(self.folder, plan, names)
        self._plan = plan
        self._settings = settings
        self._names = names
        self._build = build

    def run(self) -> int:
        """Measure every deployment that this machine allows, and write the page.

        Returns the exit code: 0 also where some could not run here; 1 where one was started and failed, or none could
        be measured; 130 after Ctrl-C.
        """
        self._say(f"Fourfold measures {', '.join(self._names)}; everything lands in {self.folder}")
        code = 0
        try:
            with _sigterm_as_ctrl_c():
                if self._build or "host" in self._names:
                    self._fetch_model()
                no_image = self._prepare_image() if any(kind_of(name) != "host" for name in self._names) else None
                for name in self._names:
                    self._measure(name, None if kind_of(name) == "host" else no_image)
        except DeploymentError as error:
            self._say(f"error: {error}")
            code = 1
        except KeyboardInterrupt:
            self._say("interrupted: what was started has been removed, what was measured is kept")
            code = INTERRUPTED
        self.journal.end()
        self._write_page()
        return code or int(bool(self.journal.having("failed")) or not self.journal.having("measured"))

    def _fetch_model(self) -> None:
        """Get the model before anything is timed, with the downloads' progress to be seen."""
        command = [sys.executable, "-m", "inference.fetch"]
        fetched = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=False)
        if fetched.returncode != 0:
            raise DeploymentError("there is no model to serve; the reason is above")
        self._say(f"model: {json.loads(fetched.stdout.splitlines()[-1])['name']}")

    def _prepare_image(self) -> str | None:
        """Have the image on the engine; why the container deployments can't run where there is none."""
        try:
            engine = connect()
            self.journal.note_engine(engine)
            if self._build:
                with self.console.status("building the image") as status:
                    log = self.folder / "image_build.log"
                    build_image(
                        self._settings.image,
                        log,
                        sys.executable,
                        lambda line: status.update(f"building the image: {escape(line[:100])}"),
                    )
            image = find_image(engine, self._settings.image)
        except (DeploymentError, *API_FAILURES) as error:
            return str(error)
        for name in self._names:
            if kind_of(name) != "host":
                self.journal.note(name, image=image)
        self._say(f"image: {image['name']}, {image['bytes'] / 1e6:.0f} MB")
        return None

    def _measure(self, name: str, no_image: str | None) -> None:
        title = runfiles.DEPLOYMENTS[name]
        reason = no_image or why_not(name, self._settings)
        if reason is not None:
            self._say(f"{title}: not run: {reason}")
            self.journal.note(name, status="not run", reason=reason)
            return
        folder = self.folder / name
        self.journal.note(name, status="failed", reason="the experiment was cut off while it ran")
        try:
            with (
                self.console.status(f"{title}: starting") as status,
                deployed(name, self._settings, folder) as running,
            ):
                status.stop()
                self._say(f"{title}: healthy after {running.seconds_to_healthy:.1f} s")
                self.journal.note(name, seconds_to_healthy=running.seconds_to_healthy)
                self._replay(running, folder)
                status.update(f"{title}: removing")
                status.start()
        except (DeploymentError, *API_FAILURES) as error:
            self._say(f"{title}: failed: {error}")
            self.journal.note(name, status="failed", reason=str(error))
        else:
            self.journal.note(name, status="measured", reason=None)

    def _replay(self, running: Running, folder: Path) -> None:
        """The single pass, the service's own rows of it, then the load."""
        target = ["--host", running.url, "--replicas", running.replicas]
        with self._bar(f"{running.name}: single pass", TEXTS) as show:
            run_locust(runfiles.SINGLE_PASS, folder / runfiles.SINGLE_PASS, target, show)
        self.journal.add_run(running.name, runfiles.SINGLE_PASS)
        files = [str(file.relative_to(self.folder)) for file in running.copy_metrics(folder)]
        self.journal.note(running.name, metrics_files=files)
        plan = self._plan
        load = ["--users", str(plan.users), "--spawn-rate", str(plan.users), "--warm-up", str(plan.warm_up_s)]
        load += ["--run-time", str(plan.warm_up_s + plan.seconds)]
        with self._bar(f"{running.name}: load of {plan.users} users", None) as show:
            run_locust(plan.user_class, folder / runfiles.LOAD, target + load, show)
        self.journal.add_run(running.name, runfiles.LOAD)

    @contextmanager
    def _bar(self, label: str, total: int | None) -> Iterator[Any]:
        columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.completed} requests"))
        with Progress(*columns, TimeElapsedColumn(), console=self.console) as progress:
            task = progress.add_task(label, total=total)
            yield lambda done: progress.update(task, completed=done)
            progress.update(task, total=progress.tasks[0].completed)

    def _write_page(self) -> None:
        subprocess.run([sys.executable, "-m", "analysis", str(self.folder)], cwd=ROOT, check=False)

    def _say(self, text: str) -> None:
        self.console.print(text, markup=False, soft_wrap=True)


@contextmanager
def _sigterm_as_ctrl_c() -> Iterator[None]:
    """SIGTERM ends the experiment as Ctrl-C does: what was started is removed."""

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _make_folder(results: Path) -> Path:
    folder = results / datetime.now().astimezone().strftime("%Y-%m-%dT%H-%M-%S")
    folder.mkdir(parents=True)
    return folder


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def _git_record() -> dict[str, Any] | None:
    """The commit that was measured, and whether files differed from it; None outside a repository."""

    def git(*arguments: str) -> str | None:
        try:
            done = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=False)
        except FileNotFoundError:
            return None
        return done.stdout.strip() if done.returncode == 0 else None

    commit = git("rev-parse", "HEAD")
    return None if commit is None else {"commit": commit, "dirty": bool(git("status", "--porcelain"))}
