"""A rolling update, and a replica that dies, while an open load goes on. What Fourfold counts is set beside what a
plain client sees."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from benchmarks.faults_outcome import Fault, Outcome
from benchmarks.mesh import HERE, Place, find_mesh
from benchmarks.needs import why_no_image, why_no_packages
from benchmarks.plain_client import Asked, asking
from infra.errors import DeploymentError
from runfiles.deployments import title_of
from runfiles.events import ENDED

if TYPE_CHECKING:
    from analysis.measure.recovery import Recovery
    from analysis.read.runs import Run

ROOT = Path(__file__).resolve().parents[1]
HABITS = ("keep_alive", "new_connection")
REPLICAS = 3
IN_MESH = f"swarm-{REPLICAS}"
UPDATES, KILLS = 5, 3
"""In the long form: rolling updates in one load with each habit, and kills of each deployment with each habit."""

FIRST_S = 10
"""When the first change is due, in s since the measured load began."""

NOTICED_S = 2.0
"""The monitor looks for the replicas every 2 s: so much later than Swarm it may notice the end of one."""


@dataclass(frozen=True)
class Loaded:
    """A change that was made during a load, and what the plain client asked from then on until the next one."""

    run: Run
    recovery: Recovery
    asked: tuple[Asked, ...]

    @property
    def ended(self) -> int:
        """How many replicas ended from then on until the next change."""
        events = self.run.events
        ends = events["at_unix_s"][(events["event"] == ENDED).to_numpy()]
        return int(ends.between(self.began_unix_s, self.began_unix_s + self.recovery.length_s).sum())

    @property
    def began_unix_s(self) -> float:
        return self.recovery.change.began_unix_s

    @property
    def made_unix_s(self) -> float:
        """When the change was made: its command had ended."""
        return float(self.run.changes["ended_at_unix_s"].iloc[0])

    @property
    def rows(self) -> list[Asked]:
        """The requests of Locust that have a row, as those of the plain client."""
        requests = self.run.measured_requests
        columns = (requests["started_at_unix_s"], self.run.finished_unix_s[requests.index], requests["error"] == "")
        return [Asked(float(sent), float(over), bool(ok)) for sent, over, ok in zip(*columns, strict=True)]

    @property
    def without_row(self) -> int:
        """Requests that were lost, and have no row that says when they were due."""
        return self.recovery.lost - self.recovery.failed


@dataclass(frozen=True)
class Lost:
    """Requests that got no answer: sent before the kill, until the service was whole again, and later."""

    in_flight: int
    while_down: int
    later: int

    @property
    def all(self) -> int:
        return self.in_flight + self.while_down + self.later


def lost_of(asked: Iterable[Asked], killed_unix_s: float, whole_unix_s: float) -> Lost:
    """The requests that got no answer, by when they were sent."""
    sent = [each.sent_unix_s for each in asked if not each.is_answered]
    in_flight = sum(at <= killed_unix_s for at in sent)
    later = sum(at > whole_unix_s for at in sent)
    return Lost(in_flight, len(sent) - in_flight - later, later)


def answers_again(asked: Sequence[Asked]) -> float | None:
    """When the first request was answered that was sent after another had failed (Unix time); None: none was."""
    failed = min((each.over_unix_s for each in asked if not each.is_answered), default=None)
    if failed is None:
        return None
    return min((each.over_unix_s for each in asked if each.is_answered and each.sent_unix_s > failed), default=None)


def measure_loads(
    plan: str, name: str, place: Place, habit: str, *, seconds: int, rounds: int = 1, changes: int = 1
) -> list[Loaded]:
    """Measure a deployment by a plan that has one change. It is made so often in each round, each time with ``seconds``
    of load.

    Raises:
        DeploymentError: it was not measured.
    """
    from analysis.measure.recovery import recoveries
    from analysis.read.results import read_results
    from infra.deployments.settings import Settings
    from infra.deployments.table import BY_NAME, PORTS

    url = place.url or BY_NAME[name].facts.url(Settings(ports=PORTS))
    with (
        TemporaryDirectory(prefix="fourfold-") as folder,
        asking(url, place.client_every_s, place.client_timeout_s) as asked,
    ):
        results, own_plan = Path(folder, "results"), Path(folder, "plan.toml")
        own_plan.write_text(plan_with(plan, changes, seconds), encoding="utf-8")
        command = [sys.executable, "-m", "infra", "run", str(own_plan), "--only", name, *place.arguments]
        command += ["--results", str(results), "--set", f"rounds={rounds}", f"rate={place.rate:g}"]
        command += [f"seconds={seconds * changes}", f"user_class={habit}", "arrivals=constant"]
        environment = os.environ | place.variables
        done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
        found = [each for own in results.glob("*") for each in read_results(own).deployments]
        runs = [run for each in found if each.name == name for run in each.loads.values()]
    loads = [Loaded(run, each, _during(asked, each)) for run in runs for each in recoveries(run)]
    if len(loads) < rounds * changes:
        made = f"{len(loads)} of {rounds * changes} changes were made"
        raise DeploymentError(f"{name}: {made}: {done.stdout}{done.stderr}")
    return loads


def plan_with(plan: str, changes: int, apart_s: int) -> str:
    """A plan whose only change is made so often, at such a distance."""
    text = (ROOT / "plans" / f"{plan}.toml").read_text(encoding="utf-8")
    before, _, change = text.partition("[[changes]]\n")
    kept = "".join(line for line in change.splitlines(keepends=True) if not line.startswith("at_s"))
    each = (f"[[changes]]\nat_s = {FIRST_S + number * apart_s}\n{kept}\n" for number in range(changes))
    return before + "".join(each)


def _during(asked: Sequence[Asked], recovery: Recovery) -> tuple[Asked, ...]:
    """What the client asked in the span of a change, also what was on its way when it began."""
    began = recovery.change.began_unix_s
    until = began + recovery.length_s
    return tuple(each for each in list(asked) if each.over_unix_s >= began and each.sent_unix_s < until)


def measure_rollout(short: bool) -> Outcome:
    """All replicas of a Swarm service are made anew, one after another."""
    place = find_mesh()
    if isinstance(place, str):
        raise DeploymentError(place)
    loads: list[Loaded] = []
    broken: list[str] = []
    for habit in HABITS:
        changes = 1 if short else UPDATES
        own = measure_loads("rollout", IN_MESH, place, habit, seconds=place.long_s, changes=changes)
        broken += [f"{habit}, update {number}: {why}." for number, each in enumerate(own, 1) for why in broken_by(each)]
        loads += own
    answered = [each.run.answered["response_time_ms"].max() for each in loads]
    figures: dict[str, object] = {
        "updates": len(loads),
        "updates without a lost request": sum(each.recovery.lost == 0 for each in loads),
        "replicas replaced": sum(each.ended for each in loads),
        "requests": sum(each.recovery.requests for each in loads),
        "lost": sum(each.recovery.lost for each in loads),
        "lost, by the plain client": _share(
            sum(not asked.is_answered for each in loads for asked in each.asked), sum(len(each.asked) for each in loads)
        ),
        "sent again, as the connection was closed": sum(each.recovery.retried for each in loads),
        "longest answer, ms": float(max(answered)),
    }
    return Outcome(figures, tuple(broken))


def broken_by(load: Loaded) -> Iterator[str]:
    """What of the promise a rolling update did not hold."""
    if load.recovery.lost:
        yield f"{_share(load.recovery.lost, load.recovery.requests)} requests were lost ({dict(load.recovery.errors)})"
    if failed := sum(not each.is_answered for each in load.asked):
        yield f"the plain client lost {_share(failed, len(load.asked))}"
    if load.ended < REPLICAS:
        yield f"only {load.ended} of {REPLICAS} replicas were replaced before the load ended"


def measure_kill(short: bool) -> Outcome:
    """A replica is killed: of docker run and Compose, which have one, and of three in a routing mesh."""
    figures: dict[str, object] = {}
    broken: list[str] = []
    mesh = find_mesh()
    places = {"docker": HERE} if short else {"docker": HERE, "compose": HERE}
    places |= {} if isinstance(mesh, str) else {IN_MESH: mesh}
    for name, place in places.items():
        loads = [
            load
            for habit in (HABITS[-1:] if short else HABITS)
            for load in measure_loads(
                "kill_one", name, place, habit, seconds=place.short_s, rounds=1 if short else KILLS
            )
        ]
        lost = [lost_by_kill(load, is_alone=name != IN_MESH) for load in loads]
        title = title_of(name)
        figures[title] = kill_in_words([each for each, _ in lost], [each for _, each in lost], loads)
        for number, (load, both) in enumerate(zip(loads, lost, strict=True), 1):
            broken += [f"{title}, kill {number}: {why}." for why in broken_by_kill(load, *both)]
    if isinstance(mesh, str):
        figures["Swarm"] = f"not measured: {mesh}"
    return Outcome(figures, tuple(broken))


def lost_by_kill(load: Loaded, *, is_alone: bool) -> tuple[Lost, Lost]:
    """What Locust and the plain client lost. A replica that is alone is whole again with its first answer; in a mesh
    the service is, as soon as the end of one was noticed, since the others go on."""
    found = []
    for asked in ([each for each in load.rows if each.over_unix_s >= load.began_unix_s], load.asked):
        whole = answers_again(asked) if is_alone else noticed_unix_s(load)
        found.append(lost_of(asked, load.made_unix_s, float("inf") if whole is None else whole))
    return found[0], found[1]


def noticed_unix_s(load: Loaded) -> float | None:
    """When the end of the killed replica had been noticed; None: it was not."""
    events = load.run.events
    is_end = (events["event"] == ENDED) & (events["replica"] == load.recovery.change.replica)
    ends = [float(at) for at in events["at_unix_s"][is_end.to_numpy()] if at >= load.began_unix_s]
    return ends[0] + NOTICED_S if ends else None


def broken_by_kill(load: Loaded, lost: Lost, client: Lost) -> Iterator[str]:
    """What of the promise a kill did not hold."""
    for who, each in (("", lost), ("the plain client: ", client)):
        if each.later:
            yield f"{who}{each.later} requests were lost that were sent after the service was whole again"
    if load.without_row:
        yield f"{load.without_row} requests were lost that were never answered, nor said to have failed"
    if load.recovery.is_down:
        yield "nothing was answered at the end of the load"


def kill_in_words(lost: Sequence[Lost], client: Sequence[Lost], loads: Sequence[Loaded]) -> str:
    """What was lost in all kills of a deployment."""
    requests, kills = sum(load.recovery.requests for load in loads), len(loads)
    counts = {
        "in flight": sum(each.in_flight for each in lost),
        "while it was down": sum(each.while_down for each in lost),
        "later": sum(each.later for each in lost),
    }
    parts = ", ".join(f"{count} {when}" for when, count in counts.items())
    by_client = _share(sum(each.all for each in client), sum(len(load.asked) for load in loads))
    return (
        f"lost {_share(sum(each.all for each in lost), requests)} requests in {kills} "
        f"{'kill' if kills == 1 else 'kills'} ({parts}); plain client: {by_client}"
    )


def _share(part: int, whole: int) -> str:
    return f"{part:,} of {whole:,}"


def why_no_rollout() -> str | None:
    place = find_mesh()
    return place if isinstance(place, str) else None


def why_no_kill() -> str | None:
    if reason := why_no_packages("docker", "psutil", "requests"):
        return reason
    from servicefile.service_file import read_service

    return why_no_image(str(read_service().image))


FAULTS: Sequence[Fault] = (
    Fault(
        "rollout",
        f"A Swarm service with {REPLICAS} replicas is updated, one replica after another",
        "No request is lost, with kept and with new connections.",
        measure_rollout,
        why_no_rollout,
    ),
    Fault(
        "kill",
        "A replica is killed (SIGKILL)",
        "Lost are requests in flight on it, and those sent to it until its end is noticed or it answers again; none "
        "later.",
        measure_kill,
        why_no_kill,
    ),
)
