"""Faults that the service meets: its metrics file can't be written for a while."""

from __future__ import annotations

import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from shutil import which

from benchmarks.faults_crowd import CROWD
from benchmarks.faults_outcome import Fault, Outcome
from benchmarks.faults_running import (
    Answer,
    Client,
    Rows,
    Running,
    as_anybody,
    by_status,
    client,
    first_line,
    read_rows,
    service,
    why_no_setpriv,
    why_rows_differ,
    working_folder,
)

RATE_PER_S = 100

TOLD_S = 0.5
"""A request that comes so soon after the fault may still be answered with 200: its row is kept until it is written. The
service promises rows within 0.1 s; the rest is for a machine that is busy."""

RETURN_S = 5.0
"""How long the service may take to answer with 200 again."""

Way = Callable[[Path], Callable[[], object]]
"""Takes the file away from the service, and returns what gives it back."""


@dataclass(frozen=True)
class Episode:
    """The file could not be written from ``began_s`` to ``ended_s``."""

    way: str
    began_s: float
    ended_s: float
    keeps_answering: bool = False
    """The service still has the file open and may write to it, so it has to answer as ever."""


def measure_metrics_file(short: bool) -> Outcome:
    with working_folder() as folder:
        path = folder / "rows" / "metrics.csv"
        path.parent.mkdir()
        with service(folder, path, as_anybody()) as running:
            with client(running.port, RATE_PER_S) as asking:
                episodes = _episodes(running, asking, times=1 if short else 5, each_s=1.0 if short else 3.0)
            code = running.stop()
            said = running.said()
        rows = sum(map(read_rows, path.parent.iterdir()), Rows())
    return judged(episodes, asking.answers, rows, code, said, path.name)


def _episodes(running: Running, asking: Client, times: int, each_s: float) -> list[Episode]:
    """Make the file unwritable in each way, so many times."""
    ways: list[tuple[str, Way, bool]] = [
        ("chmod 000 while open", _forbid, True),
        ("replaced, chmod 000", _replace, False),
    ]
    if why_not_immutable(running.metrics.parent) is None:
        ways.append(("chattr +i", _fix, False))
    episodes = []
    for _ in range(times):
        for way, take, keeps_answering in ways:
            time.sleep(each_s / 2)
            give_back = take(running.metrics)
            began_s = time.monotonic()
            try:
                time.sleep(each_s)
            finally:
                give_back()
            episodes.append(Episode(way, began_s, time.monotonic(), keeps_answering))
            asking.until(lambda answer: answer.status == 200, RETURN_S)
    time.sleep(each_s / 2)
    return episodes


def _forbid(path: Path) -> Callable[[], object]:
    path.chmod(0)
    return lambda: path.chmod(0o644)


def _replace(path: Path) -> Callable[[], object]:
    """As logrotate does if its ``create`` names the wrong mode."""
    path.rename(path.with_name(f"{time.monotonic_ns()}.old"))
    path.touch(mode=0)
    return lambda: path.chmod(0o644)


def _fix(path: Path) -> Callable[[], object]:
    subprocess.run(["chattr", "+i", path], check=True, capture_output=True)
    return lambda: subprocess.run(["chattr", "-i", path], check=True, capture_output=True)


def why_not_immutable(folder: Path) -> str | None:
    """Why ``chattr +i`` does not keep a program from writing to a file in a folder that it has open."""
    if which("chattr") is None:
        return "chattr is not installed"
    with tempfile.NamedTemporaryFile(dir=folder, buffering=0) as file:
        if subprocess.run(["chattr", "+i", file.name], capture_output=True, check=False).returncode != 0:
            return "the file system or the user can't make a file immutable"
        try:
            file.write(b"x")
        except OSError:
            return None
        finally:
            subprocess.run(["chattr", "-i", file.name], capture_output=True, check=True)
    return "the file system lets a file that is open be written"


def judged(
    episodes: Sequence[Episode], answers: Sequence[Answer], rows: Rows, exit_code: int, said: str, file: str
) -> Outcome:
    """What came of the episodes."""
    broken = []
    figures: dict[str, object] = {}
    for way in dict.fromkeys(episode.way for episode in episodes):
        own = [episode for episode in episodes if episode.way == way]
        meanwhile = [answer for episode in own for answer in answers if _is_within(episode, answer)]
        figures[f"{way}: answers meanwhile"] = by_status(meanwhile)
        wanted = 200 if own[0].keeps_answering else 500
        other = [answer for answer in meanwhile if answer.status != wanted]
        if other or not meanwhile:
            broken.append(f"{way}: not all answers meanwhile were {wanted} ({by_status(meanwhile)}).")
        if no_problem := [answer for answer in meanwhile if answer.status == 500 and not answer.is_problem]:
            broken.append(f"{way}: {len(no_problem)} answers with 500 have no problem document.")
    backs_s = [back_s for episode in episodes if (back_s := _back_s(episode, answers)) is not None]
    if len(backs_s) < len(episodes):
        broken.append(f"No 200 within {RETURN_S:g} s, {len(episodes) - len(backs_s)} times of {len(episodes)}.")
    affected = [(each.began_s, each.ended_s + (_back_s(each, answers) or RETURN_S)) for each in episodes]
    usual = [
        answer
        for answer in answers
        if not any(began_s <= answer.at_s + answer.took_s and answer.at_s < ended_s for began_s, ended_s in affected)
    ]
    if [answer for answer in usual if answer.status != 200]:
        broken.append(f"Not all answers before and after were 200 ({by_status(usual)}).")
    if exit_code != 0:
        broken.append(f"The service ended with exit code {exit_code}.")
    if "Traceback" in said:
        broken.append("The service's log has a traceback.")
    warning = first_line(said, "can't be written")
    if file not in warning:
        broken.append(f"The log does not say which file can't be written ({warning}).")
    broken += why_rows_differ(rows, answers)
    figures |= {
        "times": len(episodes),
        "answers before and after": by_status(usual),
        "longest until 200 again, s": max(backs_s, default=float("nan")),
        "rows written whole": len(rows.numbers),
        "torn rows": rows.torn,
    }
    return Outcome(figures, tuple(broken))


def _is_within(episode: Episode, answer: Answer) -> bool:
    """Whether a request was sent and answered while the service knew that it can't write."""
    return episode.began_s + TOLD_S <= answer.at_s and answer.at_s + answer.took_s <= episode.ended_s


def _back_s(episode: Episode, answers: Sequence[Answer]) -> float | None:
    """How long after the episode the first 200 came."""
    after = (answer for answer in answers if answer.status == 200 and answer.at_s >= episode.ended_s)
    back_s = min((answer.at_s + answer.took_s - episode.ended_s for answer in after), default=RETURN_S)
    return back_s if back_s < RETURN_S else None


METRICS_FILE = Fault(
    "metrics-file",
    "the service can't write its metrics file for a while",
    "500 with a problem document meanwhile, 200 again without a restart, a whole row for each 200; a file that is "
    "only forbidden while it is open is written on",
    measure_metrics_file,
    why_no_setpriv,
)

FAULTS: Sequence[Fault] = (METRICS_FILE, CROWD)
