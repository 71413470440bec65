"""The columns of the CSV files: all that their writers and readers must agree on, a row a column.

The recorder makes its rows by these tables, the analysis reads and checks files by them, the scale benchmark fills a
file by them, and tests compare docs/run-files.md with them.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from runfiles.events import ACTIONS, DISTURBED, MEASURED, PHASES, WARM_UP
from runfiles.fields import FIRST_UNIX_S, LAST_UNIX_S, MOST_BYTES
from runfiles.rates import MOST_RATE_PER_S


class Kind(StrEnum):
    """How the values of a column behave over time."""

    COUNTER = "counter"
    """It only grows. If it falls, the replica was restarted. Totals are differences of it."""
    RATE = "rate"
    """How fast a counter grew since the sample before."""
    GAUGE = "gauge"
    """The value at one moment, or of one request. It can rise and fall."""
    LABEL = "label"
    """What the row is about: when, who, and in which phase."""


COUNTER, RATE, GAUGE, LABEL = Kind


@dataclass(frozen=True)
class Unit:
    """What a value is counted in, and which values there can be. A file with any other value can't be read.

    A number lies between ``least`` and ``most``. A text has up to ``most`` characters. If there are ``words``, the text
    is one of them.
    """

    name: str
    least: float = 0
    most: float = 1e12
    is_text: bool = False
    words: tuple[str, ...] = ()


UNIX_S = Unit("Unix time, s", FIRST_UNIX_S, LAST_UNIX_S)
UNIX_S_ELSEWHERE = Unit("Unix time, s", 0, LAST_UNIX_S)
"""By a clock that may never have been set."""
SECONDS = Unit("s", 0, 1e10)
MS = Unit("ms", 0, 1e9)
MS_ABOVE_0 = Unit("ms", 1e-6, 1e9)
PERCENT = Unit("%", 0, 1e7)
BYTES = Unit("bytes", 0, MOST_BYTES)
BYTES_PER_S = Unit("bytes/s")
NUMBER = Unit("number")
PER_S = Unit("1/s", 0, MOST_RATE_PER_S)
HTTP_STATUS = Unit("number", 0, 999)
ACTION = Unit("text", is_text=True, words=ACTIONS)
YES_OR_NO = Unit("1 or 0", 0, 1)
TEXT = Unit("text", is_text=True)
NAME = Unit("text", most=1000, is_text=True)
JSON = Unit("JSON", is_text=True)
PHASE = Unit("text", is_text=True, words=PHASES)
BLOCK_PHASE = Unit("text", is_text=True, words=(WARM_UP, MEASURED, DISTURBED))


@dataclass(frozen=True)
class Column:
    """One column of a CSV file.

    Args:
        name: its name in the header. It carries the unit.
        meaning: what a value means, and what an empty one means.
        is_needed: no row may leave it empty.
        group: which of a replica's counters it belongs to; empty: it is not read from the replica. ``PREFIX_run.json``
            says how each group was read.
        rate_of: the counter whose growth in a second it is; as a percentage if its unit is ``PERCENT``.
        since: the day from which the column is recorded. Files that were recorded before lack it.
        is_analysed: the analysis reads it.
    """

    name: str
    kind: Kind
    unit: Unit
    meaning: str
    is_needed: bool = False
    group: str = ""
    rate_of: str = ""
    since: str = ""
    is_analysed: bool = True


FIRST_DAY = "2026-11-24"
BLOCKS_DAY = "2026-11-28"
PROXY_DAY = "2026-11-29"
CONNECTIONS_DAY = "2026-11-29"
OPEN_DAY = "2026-11-29"

REQUEST_COLUMNS = (
    Column(
        "started_at_unix_s",
        LABEL,
        UNIX_S,
        "when the request was sent, in an open workload when it was due, by the load generator's clock",
        True,
    ),
    Column(
        "response_time_ms",
        GAUGE,
        MS_ABOVE_0,
        "from the first byte sent (of a request that opens its connection: from opening it; open workload: from when "
        "it was due) to the last byte of the answer, unrounded",
        True,
    ),
    Column("status", LABEL, HTTP_STATUS, "HTTP status; 0: no answer came", True),
    Column("error", LABEL, TEXT, "why Locust counted the request as failed; empty: it did not"),
    Column("request_bytes", GAUGE, BYTES, "size of the request's body"),
    Column("response_bytes", GAUGE, BYTES, "size of the answer's body"),
    Column("text_id", LABEL, NUMBER, "which of the texts was sent"),
    Column("replica", LABEL, NAME, "who answered (X-Replica); empty: the answer did not say"),
    Column("queue_ms", GAUGE, MS, "time the text waited for the model (Server-Timing: queue); empty: not said"),
    Column("inference_ms", GAUGE, MS, "time in the model (Server-Timing: inference); empty: not said"),
    Column(
        "connection_reused",
        LABEL,
        YES_OR_NO,
        "1: sent over a connection already open, 0: a connection was opened for it",
    ),
    Column(
        "phase",
        LABEL,
        PHASE,
        "warm-up or measured, by the time it was sent; in a load in blocks also settling (the block's beginning or "
        "end) or disturbed (the block was repeated)",
        True,
    ),
    Column(
        "block",
        LABEL,
        NUMBER,
        "the number of the block in which it was sent; single pass: the number of the pass; empty: the load was not in "
        "blocks",
        since=BLOCKS_DAY,
    ),
    Column(
        "client_wait_ms",
        GAUGE,
        MS,
        "part of the response time in which the answer's last bytes waited in this machine's kernel for the load "
        "generator to read them; empty: the system does not tell",
        since=BLOCKS_DAY,
    ),
    Column(
        "retried",
        LABEL,
        YES_OR_NO,
        "1: the service had closed the kept connection, and the request was sent again over a new one",
        since=BLOCKS_DAY,
    ),
    Column(
        "send_delay_ms",
        GAUGE,
        MS,
        "open workload: part of the response time before the load generator sent the request; empty: closed workload",
        since=OPEN_DAY,
    ),
)

CPU, MEMORY, NETWORK, BLOCK_IO = "CPU", "memory", "network", "block I/O"
PIDS, THROTTLING = "PIDs", "throttling"
"""The groups of a replica's counters."""

PHASE_OF_SAMPLE = Column(
    "phase",
    LABEL,
    PHASE,
    "warm-up or measured, at the time of the sample; in a load in blocks also settling, disturbed, or waiting "
    "(the load was at another deployment)",
    True,
)

REPLICA_STATS_COLUMNS = (
    Column("sampled_at_unix_s", LABEL, UNIX_S, "when the sample arrived, by the load generator's clock", True),
    Column(
        "read_at_unix_s",
        LABEL,
        UNIX_S_ELSEWHERE,
        "when the counters were read, by the clock of the machine they were read on",
        True,
    ),
    Column(
        "replica",
        LABEL,
        NAME,
        "name of the container; Swarm: the service's name and the replica's number; process: the name that it returns",
        True,
    ),
    Column("replica_id", LABEL, NAME, "first 12 digits of the container's ID, or the process ID", True),
    Column("node", LABEL, NAME, "name of the Docker engine or machine it runs on"),
    Column("cpu_seconds", COUNTER, SECONDS, "CPU time used since the replica started", group=CPU),
    Column(
        "cpu_percent",
        RATE,
        PERCENT,
        "CPU since the sample before, 100 = one core; empty: first sample, or the counters were reset",
        group=CPU,
        rate_of="cpu_seconds",
    ),
    Column(
        "memory_bytes",
        GAUGE,
        BYTES,
        "usage without inactive file cache; for a process without a control group of its own: PSS of its process tree "
        "(RSS if there is no PSS), updated once a second",
        group=MEMORY,
    ),
    Column(
        "memory_limit_bytes",
        GAUGE,
        BYTES,
        "the container's limit (the machine's memory when unlimited); empty for a process",
        group=MEMORY,
    ),
    Column(
        "net_rx_bytes",
        COUNTER,
        BYTES,
        "received by the container's interfaces since it started; empty: not measured",
        group=NETWORK,
    ),
    Column(
        "net_tx_bytes",
        COUNTER,
        BYTES,
        "sent by the container's interfaces since it started; empty: not measured",
        group=NETWORK,
    ),
    PHASE_OF_SAMPLE,
    Column(
        "generation",
        LABEL,
        TEXT,
        "Swarm: the task's ID, which is new after a restart; empty: not Swarm",
        since=FIRST_DAY,
        is_analysed=False,
    ),
    Column(
        "state",
        LABEL,
        TEXT,
        "the container's or task's state, as the Docker engine last said; empty for a process",
        since=FIRST_DAY,
        is_analysed=False,
    ),
    Column("users", GAUGE, NUMBER, "users that ran at the time of the sample", since=FIRST_DAY, is_analysed=False),
    Column(
        "net_rx_bytes_per_s",
        RATE,
        BYTES_PER_S,
        "received in a second since the sample before; empty as for `cpu_percent`",
        group=NETWORK,
        rate_of="net_rx_bytes",
        since=FIRST_DAY,
        is_analysed=False,
    ),
    Column(
        "net_tx_bytes_per_s",
        RATE,
        BYTES_PER_S,
        "sent in a second since the sample before; empty as for `cpu_percent`",
        group=NETWORK,
        rate_of="net_tx_bytes",
        since=FIRST_DAY,
        is_analysed=False,
    ),
    Column(
        "net_rx_packets",
        COUNTER,
        NUMBER,
        "packets received since it started; empty: not measured",
        group=NETWORK,
        since=FIRST_DAY,
        is_analysed=False,
    ),
    Column(
        "net_tx_packets",
        COUNTER,
        NUMBER,
        "packets sent since it started; empty: not measured",
        group=NETWORK,
        since=FIRST_DAY,
        is_analysed=False,
    ),
    Column(
        "connections_accepted",
        COUNTER,
        NUMBER,
        "TCP connections that the container has accepted, also those of a health check in it; empty: not measured",
        group=NETWORK,
        since=CONNECTIONS_DAY,
    ),
    Column(
        "interfaces",
        LABEL,
        JSON,
        "interface -> bytes received, bytes sent, packets received, packets sent, since it started",
        group=NETWORK,
        since=FIRST_DAY,
        is_analysed=False,
    ),
    Column(
        "block_read_bytes",
        COUNTER,
        BYTES,
        "read from block devices; empty: not measured",
        group=BLOCK_IO,
        since=FIRST_DAY,
        is_analysed=False,
    ),
    Column(
        "block_write_bytes",
        COUNTER,
        BYTES,
        "written to block devices; empty: not measured",
        group=BLOCK_IO,
        since=FIRST_DAY,
        is_analysed=False,
    ),
    Column(
        "pids",
        GAUGE,
        NUMBER,
        "processes and threads, as the kernel counts them against the limit",
        group=PIDS,
        since=FIRST_DAY,
        is_analysed=False,
    ),
    Column(
        "throttled_seconds",
        COUNTER,
        SECONDS,
        "time that a CPU limit held it back, all cores together; empty: not measured",
        group=THROTTLING,
        since=FIRST_DAY,
    ),
    Column(
        "memory_cache_bytes",
        GAUGE,
        BYTES,
        "file cache (active and inactive) and shared memory; empty: not measured, such as for a process without a "
        "control group of its own",
        group=MEMORY,
        since="2026-11-28",
        is_analysed=False,
    ),
)

REPLICA_EVENTS_COLUMNS = (
    Column("at_unix_s", LABEL, UNIX_S, "when it was noticed, by the load generator's clock", True),
    Column(
        "event",
        LABEL,
        TEXT,
        "found (there at the start), started, restarted, ended, not sampled, sampled again; about the Docker engine: "
        "engine does not answer, engine answers again",
        True,
    ),
    Column("replica", LABEL, NAME, "as in the samples; empty: the event is about the Docker engine"),
    Column("replica_id", LABEL, NAME, "first 12 digits of the container's ID, or the process ID"),
    Column("generation", LABEL, TEXT, "Swarm: the task's ID; empty: not Swarm"),
    Column("node", LABEL, NAME, "name of the Docker engine or machine it runs on"),
    Column("detail", LABEL, TEXT, "exit code, the task's error, or what kept it from being sampled"),
)

CHANGES_COLUMNS = (
    Column(
        "began_at_unix_s", LABEL, UNIX_S, "when Fourfold began to make the change, by the load generator's clock", True
    ),
    Column("number", LABEL, NUMBER, "which change of the plan it is, from 1", True),
    Column(
        "action",
        LABEL,
        Unit("text", is_text=True, words=ACTIONS),
        "what was changed: an action of the plan; resume, drain over or spike over: its end",
        True,
    ),
    Column("due_at_unix_s", LABEL, UNIX_S, "when it was due", True),
    Column("ended_at_unix_s", LABEL, UNIX_S, "when it was made: the command had ended"),
    Column("replica", LABEL, NAME, "the replica that it was made to, as in the samples; empty: to all"),
    Column("detail", LABEL, TEXT, "what was done"),
    Column("error", LABEL, TEXT, "why it could not be made; empty: it was made"),
)
"""Of a run with changes. Those made in the web UI are numbered as they come, and due when they are asked for."""

MACHINE_STATS_COLUMNS = (
    Column("sampled_at_unix_s", LABEL, UNIX_S, "when the sample was taken, by the load generator's clock", True),
    Column(
        "docker_proxy_cpu_seconds", COUNTER, SECONDS, "CPU time of Docker's docker-proxy processes since the run began"
    ),
    Column(
        "reverse_proxy_cpu_seconds",
        COUNTER,
        SECONDS,
        "CPU time of the nginx that Fourfold puts before several replicas, since the run began",
        since=PROXY_DAY,
    ),
    Column("dockerd_cpu_seconds", COUNTER, SECONDS, "CPU time of the Docker engine's daemon since the run began"),
    Column("containerd_cpu_seconds", COUNTER, SECONDS, "CPU time of containerd and its shims since the run began"),
    Column(
        "softirq_cpu_seconds",
        COUNTER,
        SECONDS,
        "CPU time of the kernel's softirqs (network, IPVS included) since the run began",
    ),
    Column(
        "generator_cpu_seconds", COUNTER, SECONDS, "CPU time of Locust's own process (the master's) since the run began"
    ),
    Column("busy_cpu_seconds", COUNTER, SECONDS, "CPU time that all of the machine used since the run began"),
    PHASE_OF_SAMPLE,
)

BLOCK_COLUMNS = (
    Column(
        "began_at_unix_s", LABEL, UNIX_S, "when the load turned to the deployment, by the load generator's clock", True
    ),
    Column("block", LABEL, NUMBER, "number of the block, over all deployments of the group; from 1", True),
    Column(
        "cycle",
        LABEL,
        NUMBER,
        "which visit of the whole group it belongs to: blocks of one cycle are compared; from 1",
        True,
    ),
    Column("measured_from_unix_s", LABEL, UNIX_S, "when the settling time had passed", True),
    Column("measured_to_unix_s", LABEL, UNIX_S, "when the measured part ended", True),
    Column(
        "ended_at_unix_s",
        LABEL,
        UNIX_S,
        "when the load left: all requests that were sent in the measured part had been answered",
        True,
    ),
    Column("phase", LABEL, BLOCK_PHASE, "warm-up, measured, or disturbed: it enters no figure and was repeated", True),
    Column(
        "others_cpu_percent",
        GAUGE,
        PERCENT,
        "CPU that other programs and the hypervisor took in the measured part, 100 = one core; empty: not known",
    ),
    Column(
        "rate_per_s",
        GAUGE,
        PER_S,
        "open workload: how many requests were due per second; empty: closed workload",
        since=OPEN_DAY,
    ),
    Column(
        "dropped",
        GAUGE,
        NUMBER,
        "requests due in the measured part that were never sent, as the load generator was behind",
        since=OPEN_DAY,
    ),
    Column(
        "over_bound",
        GAUGE,
        NUMBER,
        "requests due in the measured part that were never sent, as too many were unanswered",
        since=OPEN_DAY,
    ),
    Column(
        "unanswered",
        GAUGE,
        NUMBER,
        "requests due in the measured part that were sent and given up, as they were unanswered long after the block",
        since=OPEN_DAY,
    ),
)


def column_names(columns: tuple[Column, ...]) -> list[str]:
    """The column names, in the order in which they stand in the file."""
    return [column.name for column in columns]
