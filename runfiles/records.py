"""The two JSON records of an experiment: ``experiment.json`` and, of each run, ``PREFIX_run.json``.

Each class describes one table. ``runfiles.fields`` says how it is read, checked and written. None is ``null``: not
known, not measured, or none; the class says which.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Self

from runfiles.cluster import PLACEMENTS, ClusterRecord
from runfiles.events import ARRIVALS, CONNECTIONS, LAYOUTS, PLANNED, STATUSES, STOPPED_BY
from runfiles.fields import (
    Address,
    Between,
    Bytes,
    Count,
    Cpus,
    HostAndPort,
    Name,
    OneOf,
    Percent,
    Record,
    Seconds,
    Seed,
    Time,
    UnixTime,
    Users,
    shown,
)
from runfiles.files import FORM, FORMS, LOAD, SINGLE_PASS
from runfiles.lines import tidy
from runfiles.machines import DockerEngine, Machine
from runfiles.rates import Rate
from runfiles.reconnect import why_not_reconnect_every
from runfiles.spikes import LEAST_TIMES, MOST_TIMES, why_not_spike
from runfiles.strict_json import read_record

MOST_ROUNDS = 10_000
LONGEST_START_S = 24 * 3600
MOST_BUDGET_MINUTES = 7 * 24 * 60
MOST_GROUPS = 100

RoundNumber = Annotated[int, Between(1, MOST_ROUNDS)]
GroupNumber = Annotated[int, Between(1, MOST_GROUPS)]
Port = Annotated[int, Between(1, 65535)]
ReconnectEvery = Annotated[str, why_not_reconnect_every]
"""As ``runfiles.reconnect`` writes it."""
SpikeText = Annotated[str, why_not_spike]
"""As ``runfiles.spikes`` writes it."""
Status = Annotated[str, OneOf(STATUSES)]
RunPrefix = Annotated[str, OneOf((SINGLE_PASS, LOAD))]


@dataclass(frozen=True, kw_only=True)
class FormedRecord(Record):
    """A whole record, as it stands in a file."""

    @classmethod
    def from_json(cls, content: Any) -> Self:
        """As ``Record.from_json``; this version would misread a record of another form."""
        if isinstance(content, dict) and content.get("form") not in FORMS:
            forms = " and ".join(map(str, FORMS))
            raise ValueError(f"it is of form {shown(content.get('form'))}, this version reads forms {forms}")
        record = super().from_json(content)
        if reason := record._contradiction():
            raise ValueError(reason)
        return record

    def _contradiction(self) -> str | None:
        """Which of the fields can't be true together; None where all can."""
        return None

    @classmethod
    def read(cls, path: Path) -> Self:
        """The record that is in a file.

        Raises:
            OSError: the file can't be read.
            ValueError: it does not hold such a record. The message says why, and names the field.
        """
        return cls.from_json(read_record(path))

    def text(self) -> str:
        """The content of the record's file.

        A text may hold half a surrogate, such as an argument that is not UTF-8; it becomes ``?``. A number that is not
        finite becomes ``null``. Neither is JSON.
        """
        clean = json.dumps(self.to_json(), ensure_ascii=False).encode("utf-8", "replace")
        again = json.loads(clean, parse_constant=lambda _: None)
        return json.dumps(again, indent=1, ensure_ascii=False) + "\n"


@dataclass(frozen=True, kw_only=True)
class CapacityRecord(Record):
    """The search for the highest rate that meets ``slo``, between two rates (per second), until it is known to
    ``tolerance`` (%)."""

    slo: str
    tolerance: Percent
    lowest: Rate
    highest: Rate


@dataclass(frozen=True, kw_only=True)
class ChangeRecord(Record):
    """A change while the load goes on, ``at_s`` after its measured part began.

    ``replica``: which one is killed, stopped or paused, from 1. ``seconds``: how long a pause, a drain or a spike
    lasts. ``replicas``: to how many is scaled. ``cpus``: the new CPU limit of each replica. ``times``: how many times
    as high the rate is in a spike. None: the action has no such value.
    """

    at_s: Seconds
    action: Annotated[str, OneOf(PLANNED)]
    replica: Count | None = None
    seconds: Seconds | None = None
    replicas: Count | None = None
    cpus: Cpus | None = None
    times: Annotated[float, Between(LEAST_TIMES, MOST_TIMES)] | None = None


@dataclass(frozen=True, kw_only=True)
class PlanRecord(Record):
    """The plan that was carried out, with the keys of a plan's file.

    ``rounds`` None: until all pairs are as precise as ``precision`` (%), or ``budget_minutes`` are up. ``layout`` None:
    an earlier version, which measured in turns. ``reconnect_every`` None: kept connections were never replaced.
    ``placement`` None: as Swarm places replicas by itself. ``workers`` None: the load came from one place.
    """

    deployments: tuple[str, ...] = ()
    rounds: RoundNumber | None = None
    precision: Percent | None = None
    budget_minutes: Annotated[float, Between(0, MOST_BUDGET_MINUTES)] | None = None
    layout: Annotated[str, OneOf(LAYOUTS)] | None = None
    block_s: Seconds | None = None
    users: Users
    seconds: Seconds | None = None
    requests: Count | None = None
    warm_up_s: Seconds
    rest_s: Seconds | None = None
    user_class: str
    reconnect_every: ReconnectEvery | None = None
    rate: Rate | None = None
    rates: tuple[Rate, ...] = ()
    arrivals: Annotated[str, OneOf(ARRIVALS)] | None = None
    capacity: CapacityRecord | None = None
    changes: tuple[ChangeRecord, ...] = ()
    seed: Seed | None = None
    cpus: Cpus | None = None
    memory_mb: Count | None = None
    processes: Count | None = None
    generator_cpus: str | None = None
    service_cpus: str | None = None
    placement: Annotated[str, OneOf(PLACEMENTS)] | None = None
    workers: Count | None = None
    load_nodes: tuple[Name, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Options(Record):
    """What was given on the command line besides the plan. ``service`` is the path of the service file. ``ports`` and
    ``reach`` are by kind of deployment. ``load_image``: that of Locust on the nodes of the swarm, which send the load;
    None: it comes from this machine. ``host_folder``: where the service's folder is on the engine's machine, on which
    the host process ran; None: it ran on this machine."""

    service: str = ""
    image: str | None
    build: bool
    ports: Mapping[str, Port]
    reach: Mapping[str, HostAndPort]
    start_timeout_s: Annotated[float, Between(0, LONGEST_START_S)]
    load_image: Name | None = None
    host_folder: str | None = None


@dataclass(frozen=True, kw_only=True)
class GitState(Record):
    """The commit that was measured, whether tracked files differed from it, and a digest of how (None: not)."""

    commit: str | None = None
    dirty: bool | None = None
    changes_sha256: str | None = None


@dataclass(frozen=True, kw_only=True)
class Model(Record):
    """The model that a service serves. None: not told."""

    name: str | None = None
    source: str | None = None
    sha256: str | None = None


@dataclass(frozen=True, kw_only=True)
class MeasuredService(Record):
    """The service that is measured: its name, the name and the content of its service file, and what it is asked.

    ``tells_model``: its answer at the path of ``ready`` should tell which model serves.
    """

    name: str
    file: str
    content: str
    method: str
    path: str
    tells_model: bool = True


@dataclass(frozen=True, kw_only=True)
class Image(Record):
    """The image of a container: its name, its ID, its digests at registries, its size, and the version of Python that
    its variable PYTHON_VERSION names, as the official images do."""

    name: Name | None = None
    id: Name | None = None
    digests: tuple[str, ...] = ()
    bytes: Bytes | None = None
    python: str | None = None


@dataclass(frozen=True, kw_only=True)
class Python(Record):
    """The Python that a host process runs on. ``is_fourfolds``: it is Fourfold's own, with Fourfold's libraries."""

    version: str
    is_fourfolds: bool


@dataclass(frozen=True, kw_only=True)
class Limits(Record):
    """What each replica may use when it is started, as the Docker engine says. None: as much as there is.

    ``cpuset``: the processors that it may use, such as ``1`` or ``0-1,3``.
    """

    cpus: Cpus | None = None
    memory_bytes: Bytes | None = None
    cpuset: str | None = None


@dataclass(frozen=True, kw_only=True)
class RoundRecord(Record):
    """What became of one round of a deployment. ``reason`` says why it was not measured.

    ``folder`` and ``metrics_files`` lie within the experiment's folder. ``runs`` are the runs that are whole.
    ``group``: in which group of deployments its load was measured; None: alone. ``reference_in``: the groups in which
    it was measured once more, as their reference (files ``runfiles.files.load_prefix``).
    """

    number: RoundNumber
    status: Status
    reason: str | None = None
    folder: str
    started_at: Time | None = None
    seconds_to_healthy: Seconds | None = None
    runs: tuple[RunPrefix, ...] = ()
    metrics_files: tuple[str, ...] = ()
    limits: Limits = Limits()
    group: GroupNumber | None = None
    reference_in: tuple[GroupNumber, ...] = ()


@dataclass(frozen=True, kw_only=True)
class DeploymentRecord(Record):
    """What became of one deployment. ``reason`` says why not all of its rounds were measured. ``python`` is None for
    containers, and for a host process that does not run on Python, or is not known to."""

    name: Name
    status: Status
    reason: str | None = None
    image: Image | None = None
    python: Python | None = None
    rounds: tuple[RoundRecord, ...]


@dataclass(frozen=True, kw_only=True)
class BlankRecord(Record):
    """The blank: the same client against a responder that answers at once. ``reason`` says why it was not measured.

    Its files are those of the run ``LOAD`` in ``folder``. ``answer_bytes``: the size of the whole answer.
    """

    status: Status
    reason: str | None = None
    folder: str
    answer_bytes: Bytes | None = None


@dataclass(frozen=True, kw_only=True)
class ExperimentRecord(FormedRecord):
    """``experiment.json``: what was to be measured, under which circumstances, and what became of each round.

    ``ended_at`` is None while the experiment runs, and where it was killed. ``order`` has the deployments of each round
    in the order in which they are started. ``groups``: which deployments ran side by side in each round, and shared its
    load in blocks; if there are several groups, the first deployment is in all of them, as their reference.
    ``groups_reason`` says why there are several. ``stopped_by`` says why there was no further round.

    ``host_machine`` is that of the host process; None: ``machine``. ``engine`` is None where no Docker engine was
    needed or none answered, ``git`` outside a repository. ``versions`` and ``environment`` are those of the host
    process; None: not known. ``cluster`` is None unless the engine was in a swarm of several nodes.
    """

    form: int = FORM
    started_at: Time
    ended_at: Time | None = None
    resumed_at: tuple[Time, ...] = ()
    command: str
    machine: Machine
    git: GitState | None = None
    versions: Mapping[str, str] | None = None
    environment: Mapping[str, str] | None = None
    engine: DockerEngine | None = None
    host_machine: Machine | None = None
    cluster: ClusterRecord | None = None
    model: Model | None = None
    service: MeasuredService | None = None
    options: Options | None = None
    plan: PlanRecord
    order: tuple[tuple[str, ...], ...] = ()
    groups: tuple[tuple[str, ...], ...] = ()
    groups_reason: str | None = None
    stopped_by: Annotated[str, OneOf(STOPPED_BY)] | None = None
    blank: BlankRecord | None = None
    deployments: tuple[DeploymentRecord, ...]

    def _contradiction(self) -> str | None:
        if not self.order:
            return None
        if self.plan.rounds is not None and len(self.order) != self.plan.rounds:
            return f"order is not that of its plan: it has {len(self.order):,} rounds, the plan {self.plan.rounds:,}"
        planned = sorted(self.plan.deployments)
        for number, names in enumerate(self.order, 1):
            if planned and sorted(names) != planned:
                others = f"{shown(list(names))}, the plan {shown(list(self.plan.deployments))}"
                return f"order is not that of its plan: its number {number} has {others}"
        return None


@dataclass(frozen=True, kw_only=True)
class InferenceEngine(Record):
    """What computes the answers in a service, as the service says. None: not told."""

    name: str | None = None
    device: str | None = None
    weights: str | None = None
    threads: Any = None
    why_not_faster: Any = None

    @property
    def is_told(self) -> bool:
        """Whether the service said anything of it."""
        return self != InferenceEngine()


@dataclass(frozen=True, kw_only=True)
class Service(Record):
    """What a service said of itself: the whole answer at its path ``ready``, and the parts that the analysis reads.

    The answer is not ours: it may hold more, or lack parts. Only the answer is written; the parts are read from it.
    """

    answer: Mapping[str, Any]
    model: Model = Model()
    engine: InferenceEngine = InferenceEngine()
    versions: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def from_table(cls, table: Mapping[str, Any], place: str) -> Self:
        told = {name: table[name] for name in ("model", "engine", "versions") if table.get(name) is not None}
        return super().from_table(told | {"answer": table}, place)

    def to_json(self) -> dict[str, Any]:
        return dict(self.answer)


@dataclass(frozen=True, kw_only=True)
class Texts(Record):
    """The texts that a run sends: runs with other texts are not comparable."""

    file: str | None = None
    sha256: str
    count: Count | None = None


@dataclass(frozen=True, kw_only=True)
class ReplicaRecord(Record):
    """A replica that was found. ``answers_as``: other names that its answers have. ``reason``: why it was not sampled.

    ``sources``: how each group of columns was read (CPU, memory, ...). A group that is absent was not measured.
    """

    name: str
    id: str
    answers_as: tuple[str, ...] = ()
    node: str | None = None
    sampled: bool | None = None
    reason: str | None = None
    sources: Mapping[str, str] | None = None


@dataclass(frozen=True, kw_only=True)
class NodeClock(Record):
    """How far the clock of a node was ahead of the recording's, and by how much that may be wrong.

    The times of that node's samples are by the recording's clock: this much was taken from them.
    """

    node: Name
    offset_ms: float
    uncertainty_ms: Annotated[float, Between(0, 10**6)]


@dataclass(frozen=True, kw_only=True)
class Replicas(Record):
    """The replicas of a run: what was asked for, what was found, how it was sampled, and what kept it from that.

    ``asked`` and ``found`` are KIND:NAME (``runfiles.events``); ``found`` is None where nothing was found. ``clocks``:
    those of the nodes whose agents sampled them.
    """

    asked: str | None = None
    found: str | None = None
    sampling: str | None = None
    interval_s: Seconds | None = None
    clocks: tuple[NodeClock, ...] = ()
    list: tuple[ReplicaRecord, ...]
    problems: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Blocks(Record):
    """How the load of a run came in blocks. The run is that of ``deployment``; the load also visited the others of
    ``deployments``, which ran beside it as ``group``.

    ``planned``: measured blocks of each deployment. ``repeated``: how many of this one were disturbed and repeated.
    ``disturbed``: how many count although they were disturbed, as enough had been repeated.
    """

    deployment: str
    deployments: tuple[str, ...]
    group: GroupNumber
    block_s: Seconds
    settle_s: Seconds
    planned: Count
    repeated: Count
    disturbed: Count


@dataclass(frozen=True, kw_only=True)
class OpenWorkload(Record):
    """An open workload: requests were due at ``rate_per_s`` (None: each block had its own), whatever was answered.

    ``arrivals`` and ``connection`` are words of ``runfiles.events``. ``most_in_flight``: how many requests a process
    may have unanswered. ``spikes``: when the rate was how many times as high (``runfiles.spikes``). The others count
    arrivals of the measured phase: sent too ``late``; ``dropped``, ``over_bound`` and ``unanswered`` as in
    ``runfiles.events.UNSENT``, which have no row.
    """

    rate_per_s: Rate | None = None
    arrivals: Annotated[str, OneOf(ARRIVALS)]
    connection: Annotated[str, OneOf(CONNECTIONS)]
    most_in_flight: Count
    spikes: tuple[SpikeText, ...] = ()
    late: Count
    dropped: Count
    over_bound: Count
    unanswered: Count


@dataclass(frozen=True, kw_only=True)
class Generator(Record):
    """The load generator's own CPU: of its busiest process, of all together (100 = one core); how often Locust warned
    of it."""

    cpu_percent: Percent | None = None
    cpu_percent_all: Percent | None = None
    processes: Count | None = None
    cpu_warnings: Count

    @classmethod
    def from_table(cls, table: Mapping[str, Any], place: str) -> Self:
        """An earlier version, which had one process alone, did not record ``cpu_percent_all``."""
        return super().from_table({"cpu_percent_all": table.get("cpu_percent"), **table}, place)


@dataclass(frozen=True, kw_only=True)
class RunMachine(Machine):
    """The machine of the load generator, and the CPU that all of its programs used during the run (100 = one core)."""

    cpu_percent: Percent | None = None


@dataclass(frozen=True, kw_only=True)
class Fault(Record):
    """Something that is wrong with a recording: one of ``runfiles.events.FAULTS``, and what happened."""

    kind: str
    text: str


@dataclass(frozen=True, kw_only=True)
class FailedText(Record):
    """A text of which a request failed: its number, its first words, and the status of the answer (0: none came)."""

    text_id: Count
    begins: str
    status: Count

    def __str__(self) -> str:
        status = f"status {self.status}" if self.status else "no answer"
        return f'text {self.text_id} ("{tidy(self.begins)}"): {status}'


@dataclass(frozen=True, kw_only=True)
class RunRecord(FormedRecord):
    """``PREFIX_run.json``: what ran, with what, and what is wrong with its recording.

    ``ended_at_unix_s`` and ``ended_by`` are None while the run lasts, and where it was killed. ``run_time_s`` and
    ``end_after_requests`` are None where the run had no such end. ``requests`` and ``failures`` are those that were
    reported so far. ``service`` is None where the service did not say who it is. ``blocks`` is None where the load came
    in one piece, ``open`` in a closed workload. ``retries``: requests that were sent again, as the service had closed
    the kept connection. ``reconnects``: connections that the load generator replaced, as ``reconnect_every`` says; both
    are None where it replaced none on purpose. ``failed_texts``: the first texts of which a request failed.
    """

    command: str | None = None
    user_class: str
    host: Address | None = None
    spawn_rate: Users | None = None
    run_time_s: Seconds | None = None
    warm_up_s: Seconds
    end_after_requests: Count | None = None
    seed: Seed | None = None
    reconnect_every: ReconnectEvery | None = None
    form: int = FORM
    users: Users | None = None
    started_at_unix_s: UnixTime
    ended_at_unix_s: UnixTime | None = None
    ended_by: str | None = None
    requests: Count | None = None
    failures: Count | None = None
    retries: Count | None = None
    reconnects: Count | None = None
    open: OpenWorkload | None = None
    blocks: Blocks | None = None
    failed_texts: tuple[FailedText, ...] = ()
    faults: tuple[Fault, ...] = ()
    service: Service | None = None
    texts: Texts
    replicas: Replicas
    generator: Generator
    versions: Mapping[str, str] | None = None
    machine: RunMachine = RunMachine()

    def _contradiction(self) -> str | None:
        if self.ended_at_unix_s is not None:
            if self.ended_at_unix_s < self.started_at_unix_s:
                before = f"which is before started_at_unix_s, {self.started_at_unix_s}"
                return f"ended_at_unix_s is {self.ended_at_unix_s}, {before}"
            if self.requests is None:
                return "requests is missing, though the run ended"
        if self.requests is not None and self.failures is not None and self.failures > self.requests:
            return f"failures is {self.failures:,}, more than requests, {self.requests:,}"
        return None

    @property
    def model(self) -> Model:
        """The model that answered, as the service says."""
        return Model() if self.service is None else self.service.model

    @property
    def inference_engine(self) -> InferenceEngine:
        """What computed the answers, as the service says."""
        return InferenceEngine() if self.service is None else self.service.engine

    @property
    def service_versions(self) -> Mapping[str, Any]:
        """The versions of what computed the answers, as the service says."""
        return {} if self.service is None else self.service.versions
