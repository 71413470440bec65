"""The form of a run on disk: file names, columns, units.

This is all that locustfiles, infra and analysis share. Writers and readers take their names from here, and this
module imports nothing but the standard library, so that no folder drags another one in.

One experiment is one folder::

    results/2026-01-31T12-00-00/
        experiment.json              what was to be measured, what was, and why the rest was not
        host/                        one folder a deployment
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

FORM = 1
"""Goes up when a reader of the older form would misread the newer one."""

EXPERIMENT_FILE = "experiment.json"
REPORT_FILE = "report.html"

REQUESTS_SUFFIX = "_requests.csv"
REPLICA_STATS_SUFFIX = "_replica_stats.csv"
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
    """One column of a CSV file: its name (which carries the unit) and what it means."""

    name: str
    meaning: str


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
