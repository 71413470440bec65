"""The clock is set by an hour while a run goes on: no figure is wrong by that, and a caveat names the clock.

The machine's own clock is left alone. All processes of the run, the service too, are started by a Python that loads
``step_clock.c``, which shifts what they read of it. Containers do not follow such a step, nor do the times of files.
"""

from __future__ import annotations

import csv
import html
import os
import platform
import re
import signal
import socket
import struct
import subprocess
import sys
import sysconfig
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.faults_experiment import DONE, TRACEBACK, ExperimentFolder
from benchmarks.faults_outcome import Fault, Outcome
from benchmarks.faults_signals import ports
from benchmarks.needs import why_no_packages, why_no_program
from infra.deployments.waiting import until_true
from infra.paths import ROOT

HOUR_S = 3600
STEPS_S = (HOUR_S, -HOUR_S)
RUNS = ("single_pass", "load")
"""During which run of an experiment the clock is set."""
PLAIN_S = 8
LONGEST_RUN_S = 600
"""No run here takes so long, so no duration and no difference of two times may be longer."""
CAVEAT = "the clock of this machine was set"
STEPPED = "stepped_clock"
MINUS = "\N{MINUS SIGN}"
DURATION = re.compile(rf"(?<![\w.,{MINUS}-])([{MINUS}-]?\d[\d,]*(?:\.\d+)?)\s(ms|s|min|h)\b")
SECONDS = {"ms": 0.001, "s": 1.0, "min": 60.0, "h": 3600.0}
VALUES = re.compile(r'"(?:x|range)": ?\[([-\d.,e+ ]+)\]')
"""The values of a chart along its horizontal axis, and the range of an axis."""


@dataclass(frozen=True)
class Stepped:
    """A Python whose processes read a clock that can be set."""

    python: str
    place: Path

    def set_by(self, seconds: int) -> None:
        """Set the clock of all processes of this Python at once."""
        with self.place.open("r+b") as file:
            file.write(struct.pack("l", seconds))


def measure(short: bool) -> Outcome:
    broken: list[str] = []
    plain = experiments = told = 0
    with TemporaryDirectory(prefix="fourfold-faults-") as own:
        folder = Path(own)
        clock = stepped(folder)
        for step_s in STEPS_S[1:] if short else STEPS_S:
            found = plain_run(folder / f"plain{step_s}", clock, step_s)
            plain, told = plain + 1, told + (not any("no caveat" in each for each in found))
            broken += [f"Plain run, clock set by {step_s} s: {text}." for text in found]
        for step_s, run in () if short else [(step_s, run) for step_s in STEPS_S for run in RUNS]:
            found = experiment(folder / f"{run}{step_s}", clock, step_s, run)
            experiments, told = experiments + 1, told + (not any("no caveat" in each for each in found))
            broken += [f"Experiment, clock set by {step_s} s in {run}: {text}." for text in found]
    figures: dict[str, object] = {
        "plain runs": plain,
        "experiments": experiments,
        "with a caveat that names the clock": told,
        "absurd figures": sum("no caveat" not in each for each in broken),
    }
    return Outcome(figures, tuple(broken))


def stepped(folder: Path) -> Stepped:
    """Build the library, and a Python that loads it: a virtual environment with the packages of the present one."""
    library, place = folder / "step_clock.so", folder / "step_s"
    source = Path(__file__).with_name("step_clock.c")
    subprocess.run(["cc", "-shared", "-fPIC", "-O1", "-o", str(library), str(source)], check=True, capture_output=True)
    place.write_bytes(struct.pack("l", 0))
    home = folder / "python"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(home)], check=True, capture_output=True)
    packages = sysconfig.get_path("purelib", vars={"base": str(home)})
    own = {"LD_PRELOAD": str(library), "FOURFOLD_CLOCK_STEP": str(place)}
    Path(packages, f"{STEPPED}.py").write_text(
        "import os, sys\n"
        f"own = {own!r}\n"
        "if any(os.environ.get(name) != value for name, value in own.items()):\n"
        "    os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], os.environ | own)\n"
    )
    here, paths = sysconfig.get_path("purelib"), f"import site, sys; sys.path.insert(0, {str(ROOT)!r})"
    Path(packages, f"{STEPPED}.pth").write_text(f"{paths}; site.addsitedir({here!r})\nimport {STEPPED}\n")
    return Stepped(str(home / "bin" / "python"), place)


def plain_run(folder: Path, clock: Stepped, step_s: int) -> list[str]:
    """``locust --headless --csv`` against a service, and the clock is set in the middle of it: what is wrong then."""
    folder.mkdir()
    clock.set_by(0)
    port, prefix = ports()["host"], folder / "run"
    own = {"HOST": "127.0.0.1", "PORT": str(port), "METRICS_LOG_FILE": str(folder / "service_inference_metrics.csv")}
    own["INFERENCE_MODEL"] = str(ROOT / "inference" / "bundled_model")
    with ExitStack() as stack:
        output = stack.enter_context((folder / "said.log").open("wb"))
        service = subprocess.Popen(
            [clock.python, "-m", "inference"], cwd=ROOT, env=os.environ | own, stdout=output, stderr=output
        )
        stack.callback(service.wait, 30)
        stack.callback(service.send_signal, signal.SIGTERM)
        options = ["--headless", "--csv", str(prefix), "-u", "2", "-t", f"{PLAIN_S}s", "--only-summary"]
        command = [clock.python, "-m", "locust", "-f", "locustfiles/keep_alive.py", *options]
        wait_for_port(port, service)
        locust = subprocess.Popen(
            [*command, "--host", f"http://127.0.0.1:{port}"], cwd=ROOT, stdout=output, stderr=output
        )
        stack.callback(locust.kill)
        until_true(lambda: has_rows(Path(f"{prefix}_requests.csv")), 30)
        time.sleep(PLAIN_S / 3)
        clock.set_by(step_s)
        code = locust.wait(60)
    said = (folder / "said.log").read_text(encoding="utf-8", errors="replace")
    broken = [] if code == 0 and TRACEBACK not in said else [f"Locust ended with {code}: {said[-200:]}"]
    if CAVEAT not in Path(f"{prefix}_run.json").read_text(encoding="utf-8"):
        broken.append("there is no caveat that names the clock in run_run.json")
    return broken + absurd_in_files(folder)


def experiment(folder: Path, clock: Stepped, step_s: int, run: str) -> list[str]:
    """``python -m infra run``, and the clock is set during one of its runs: what is wrong then."""
    folder.mkdir()
    clock.set_by(0)
    place = ExperimentFolder(folder, clock.python)
    began = place.new(["host"], ports())
    try:
        pattern = f"*/host/round-1/{run}_requests.csv"
        until_true(lambda: began.process.poll() is not None or any(map(has_rows, place.results.glob(pattern))), 120)
        time.sleep(0.5)
        clock.set_by(step_s)
        said = began.wait()
        if said.exit_code not in DONE or TRACEBACK in said.text:
            return [f"the experiment ended with {said.exit_code}: {said.last_line}"]
        (made,) = place.folders()
        markdown = place.run("-m", "analysis", str(made), "--format", "markdown", "--output", str(folder / "page.md"))
        if markdown.exit_code not in DONE:
            return [f"no Markdown could be made: {markdown.last_line}"]
    finally:
        place.kill_all()
    broken = absurd_in_files(made)
    page = (made / "report.html").read_text(encoding="utf-8")
    texts = {"the page": words_of(page), "Markdown": (folder / "page.md").read_text(encoding="utf-8")}
    for name, text in texts.items():
        broken += [f"{name} has {each}" for each in absurd_in_text(text)]
        if CAVEAT not in text:
            broken.append(f"there is no caveat that names the clock in {name}")
    if "another clock" in texts["the page"] or "another experiment" in texts["the page"]:
        broken.append("the page takes the rows for those of another clock or experiment")
    return broken + [f"the page has an axis {each}" for each in absurd_axes(page)]


def absurd_in_files(folder: Path) -> list[str]:
    """What can't be in the CSV files below a folder."""
    found = []
    for path in sorted(folder.rglob("*.csv")):
        with path.open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
        found += [f"{path.name}: {text}" for text in absurd_in_rows(rows)]
    return found


def absurd_in_rows(rows: Sequence[dict[str, str]]) -> list[str]:
    """What can't be in the rows of a CSV file: negative numbers, durations and spans of time that are too long."""
    found = []
    for name in rows[0] if rows else ():
        numbers = [value for row in rows if (value := number_in(row.get(name))) is not None]
        if not numbers:
            continue
        if name.endswith("unix_s") or name == "Timestamp":
            if max(numbers) - min(numbers) > LONGEST_RUN_S:
                found.append(f"{name} spans {max(numbers) - min(numbers):.0f} s")
        elif min(numbers) < 0:
            found.append(f"{name} is {min(numbers):g}")
        elif (name.endswith("_s") and max(numbers) > LONGEST_RUN_S) or (
            name.endswith("_ms") and max(numbers) > 1000 * LONGEST_RUN_S
        ):
            found.append(f"{name} is {max(numbers):g}")
    last = rows[-1] if rows else {}
    rate, count = number_in(last.get("Requests/s")), number_in(last.get("Request Count"))
    if rate is not None and count and not count / LONGEST_RUN_S <= rate <= count:
        found.append(f"Requests/s is {rate:g} for {count:g} requests")
    return found


def number_in(text: str | None) -> float | None:
    try:
        return float(text) if text else None
    except ValueError:
        return None


def words_of(page: str) -> str:
    """What a page says, without its scripts and styles."""
    plain = re.sub(r"<(script|style|svg)\b.*?</\1>", " ", page, flags=re.DOTALL)
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", plain)).split())


def absurd_in_text(text: str) -> Iterator[str]:
    """Durations that no run here has, but for those of the sentence on the clock itself."""
    rest = re.sub(rf"{CAVEAT} (?:forward|back) by [\d,.]+ s", "", text)
    for number, unit in DURATION.findall(rest):
        seconds = float(number.replace(",", "").replace(MINUS, "-")) * SECONDS[unit]
        if not 0 <= seconds <= LONGEST_RUN_S:
            yield f"{number} {unit}"


def absurd_axes(page: str) -> list[str]:
    """The axes of charts that are about as long as the step of the clock."""
    along = [[float(value) for value in values.split(",")] for values in VALUES.findall(page)]
    return [
        f"from {min(values):g} to {max(values):g}"
        for values in along
        if HOUR_S / 2 < max(values) - min(values) < 3 * HOUR_S
    ]


def has_rows(path: Path) -> bool:
    return path.is_file() and path.read_bytes().count(b"\n") > 1


def wait_for_port(port: int, service: subprocess.Popen[bytes]) -> None:
    """
    Raises:
        RuntimeError: the service did not start.
    """

    def answers() -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", port)) == 0

    if not until_true(lambda: service.poll() is not None or answers(), 60) or service.poll() is not None:
        raise RuntimeError("the service did not start")


def why_not() -> str | None:
    if platform.system() != "Linux":
        return "only Linux lets a library shift the clock of a process (LD_PRELOAD)"
    return why_no_packages("locust", "psutil", "pandas") or why_no_program("cc")


FAULTS: Sequence[Fault] = (
    Fault(
        "clock",
        "The clock is set by an hour, forward or back, during a run",
        "no figure is negative or absurd, and a caveat names the clock",
        measure,
        why_not,
    ),
)
