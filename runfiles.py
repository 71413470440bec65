"""The form of a run on disk: file names, columns, units.

This is all that locustfiles, infra and analysis share. Writers and readers take their names from here, and this
module imports nothing but the standard library, so that no folder drags another one in.

One experiment is one folder::

    results/2026-01-31T12-00-00/
        experiment.json              what was to be measured, what was, and why the rest was not
        host/                        one folder a deployment
            round-1/                 one folder each time that it was started and measured
                single_pass_run.json     what ran, on what, with what
                single_pass_requests.csv one row a request
                single_pass_replica_stats.csv  one row a sample of a replica
                single_pass_stats.csv    Locust's own files, and its log
                load_*.csv, load_run.json
                system_inference_metrics.csv   the service's own rows, as they were after the single pass
        report.html

Missing is written as an empty field (CSV) or ``null`` (JSON) and never as zero.
"""

from __future__ import annotations

import os
import platform
from dataclasses import dataclass
from pathlib import Path

FORM = 2
"""Goes up when a reader of the older form would misread the newer one."""

EXPERIMENT_FILE = "experiment.json"
REPORT_FILE = "report.html"

REQUESTS_SUFFIX = "_requests.csv"
REPLICA_STATS_SUFFIX = "_replica_stats.csv"
REPLICA_EVENTS_SUFFIX = "_replica_events.csv"
MACHINE_STATS_SUFFIX = "_machine_stats.csv"
RUN_RECORD_SUFFIX = "_run.json"

SINGLE_PASS = "single_pass"
LOAD = "load"
"""The two runs of a deployment, and the prefixes of their files."""

WARM_UP = "warm-up"
MEASURED = "measured"
"""The phases of a run. Only rows of the phase ``measured`` enter a figure."""

DEPLOYMENTS = {
    "host": "Host process",
    "docker": "docker run",
    "compose": "Docker Compose",
    "swarm-1": "Swarm, 1 replica",
    "swarm-3": "Swarm, 3 replicas",
}
"""Name on the command line and on disk -> title for people, in the order in which they are shown."""


@dataclass(frozen=True)
class Column:
    """One column of a CSV file: its name (which carries the unit) and what it means.

    ``is_late``: files that an earlier version wrote may lack it.
    """

    name: str
    meaning: str
    is_late: bool = False


REQUEST_COLUMNS = (
    Column("started_at_unix_s", "when the request was sent, by the load generator's clock"),
    Column("response_time_ms", "from sending to the last byte of the answer, unrounded, as Locust measured it"),
    Column("status", "HTTP status; 0: no answer came"),
    Column("error", "why Locust counted the request as failed; empty: it did not"),
    Column("request_bytes", "bytes of the request's body"),
    Column("response_bytes", "bytes of the answer's body"),
    Column("text_id", "which of the texts was sent"),
    Column("replica", "who answered (X-Replica); empty: the answer did not say"),
    Column("queue_ms", "time the text waited for the model (Server-Timing: queue); empty: not said"),
    Column("inference_ms", "time in the model (Server-Timing: inference); empty: not said"),
    Column("connection_reused", "1: sent over a connection already open, 0: a connection was opened for it"),
    Column("phase", "warm-up or measured, by the time it was sent"),
)

REPLICA_STATS_COLUMNS = (
    Column("sampled_at_unix_s", "when the sample arrived, by the load generator's clock"),
    Column("read_at_unix_s", "when the counters were read, by the clock of the machine they were read on"),
    Column("replica", "container name, service.slot, or host"),
    Column("replica_id", "first 12 digits of the container's ID, or the process ID"),
    Column("node", "name of the engine or machine it runs on"),
    Column("cpu_seconds", "CPU time used since the replica started, cumulative"),
    Column("cpu_percent", "CPU since the sample before, 100 = one core; empty: first sample, or counters were reset"),
    Column("memory_bytes", "container: usage less inactive file cache; process tree: PSS, or RSS where there is none"),
    Column("memory_limit_bytes", "the container's limit (the machine's memory when unlimited); empty for a process"),
    Column("net_rx_bytes", "bytes into the container's interfaces since it started, cumulative; empty: not measured"),
    Column("net_tx_bytes", "bytes out of the container's interfaces since it started, cumulative; empty: not measured"),
    Column("phase", "warm-up or measured, at the time of the sample"),
    Column("generation", "Swarm: the task's ID, which a replica's successor does not share; empty: not Swarm", True),
    Column("state", "the container's or task's state, as the engine last said; empty for a process", True),
    Column("users", "users that ran at the time of the sample", True),
    Column("net_rx_bytes_per_s", "bytes in a second since the sample before; empty as for `cpu_percent`", True),
    Column("net_tx_bytes_per_s", "bytes out a second since the sample before; empty as for `cpu_percent`", True),
    Column("net_rx_packets", "packets in since it started, cumulative; empty: not measured", True),
    Column("net_tx_packets", "packets out since it started, cumulative; empty: not measured", True),
    Column("interfaces", "JSON: interface -> bytes in, bytes out, packets in, packets out, cumulative", True),
    Column("block_read_bytes", "bytes read from block devices, cumulative; empty: not measured", True),
    Column("block_write_bytes", "bytes written to block devices, cumulative; empty: not measured", True),
    Column("pids", "processes and threads, as the kernel counts them against the limit", True),
    Column("throttled_seconds", "time that a CPU limit held it back, all cores together, cumulative", True),
)

REPLICA_EVENTS_COLUMNS = (
    Column("at_unix_s", "when it was noticed, by the load generator's clock"),
    Column("event", "found (there at the start), started, restarted, ended, not sampled, sampled again"),
    Column("replica", "container name, service.slot, or host"),
    Column("replica_id", "first 12 digits of the container's ID, or the process ID"),
    Column("generation", "Swarm: the task's ID; empty: not Swarm"),
    Column("node", "name of the engine or machine it runs on"),
    Column("detail", "exit code, the task's error, or what kept it from being sampled"),
)

MACHINE_STATS_COLUMNS = (
    Column("sampled_at_unix_s", "when the sample was taken, by the load generator's clock"),
    Column("docker_proxy_cpu_seconds", "CPU time of the engine's docker-proxy processes since the run began"),
    Column("dockerd_cpu_seconds", "CPU time of the engine's daemon since the run began"),
    Column("containerd_cpu_seconds", "CPU time of containerd and its shims since the run began"),
    Column("softirq_cpu_seconds", "CPU time of the kernel's softirqs (network, and IPVS with it) since the run began"),
    Column("generator_cpu_seconds", "CPU time of Locust's own process (the master's) since the run began"),
    Column("busy_cpu_seconds", "CPU time that all of the machine has used since the run began"),
    Column("phase", "warm-up or measured, at the time of the sample"),
)


def names(columns: tuple[Column, ...]) -> list[str]:
    """The column names, in the order in which they stand in the file."""
    return [column.name for column in columns]


def machine_record() -> dict[str, str | int | None]:
    """What this machine is, as both JSON records state it; ``cpu_model`` and ``memory_bytes`` None where not told."""
    names = ("SC_PHYS_PAGES", "SC_PAGE_SIZE")
    told = all(name in os.sysconf_names for name in names)
    return {
        "node": platform.node(),
        "system": platform.system(),
        "kernel": platform.release(),
        "cpu_model": _cpu_model(),
        "cpu_count": os.cpu_count(),
        "memory_bytes": os.sysconf(names[0]) * os.sysconf(names[1]) if told else None,
    }


def _cpu_model() -> str | None:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or None
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), None)
