"""The form of a run on disk: file names, columns, units.

This is all that locustfiles, infra and analysis share. Writers and readers take their names from here, and this
module imports nothing but the standard library, so that no folder drags another one in.

One experiment is one folder::

    results/2026-01-31T12-00-00/
        experiment.json              the plan, the machine, and of each round of each deployment what became of it
        host/round-1/                one folder a round of a deployment
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

import ipaddress
import json
import math
import os
import platform
import secrets
import stat
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

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
"""The two runs of a round, and the prefixes of their files."""

WARM_UP = "warm-up"
MEASURED = "measured"
"""The phases of a run. Only rows of the phase ``measured`` enter a figure. The word is also a status, below."""

FAILED = "failed"
NOT_RUN = "not run"
"""With ``MEASURED`` the statuses of a round: both runs are whole; it was begun and broke, or was cut off; it was never
begun. A deployment is measured if one of its rounds is, else failed if one of them failed, else not run."""

RUN_TIME = "run time"
ENOUGH_REQUESTS = "number of requests"
ALL_TEXTS = "all texts sent"
STOPPED = "stopped"
INTERRUPTED = "interrupted"
"""What ended a run (``ended_by``): its run time; as many requests as were asked for; a single pass that sent all its
texts; a person in the web UI, or that no user was left; Ctrl-C or SIGTERM. None: it was killed, or still runs."""

FOUND = "found"
STARTED = "started"
RESTARTED = "restarted"
ENDED = "ended"
NOT_SAMPLED = "not sampled"
SAMPLED_AGAIN = "sampled again"
"""What becomes of a replica: the column ``event`` of ``REPLICA_EVENTS_COLUMNS``, which explains them."""

FAULTS = {
    "rows lost": "rows are not in their file, or were lost with a worker",
    "incomplete": "the single pass sent fewer texts than there are",
    "unsampled": "a replica answered that was not sampled",
    "clock": "a Locust worker's clock differs from the master's; its rows were moved to the master's clock",
    "option": "an option could not be used as it was given; another value was used",
}
"""What can be wrong with a recording -> what that means. ``PREFIX_run.json`` lists each one that happened under
``faults``, as ``{"kind": one of these, "text": what happened, in one sentence}``. The analysis decides which of them
make a run invalid."""

RECORDING_FAILED_EXIT_CODE = 4
"""Locust's exit code when the recording could not be written, whatever became of the requests."""

MOST_RECORD_BYTES = 50 * 10**6
"""A JSON record that is larger is not one of ours, and is not read. ``experiment.json`` of 100 rounds has 0.3 MB."""

NO_REPLICAS = "none"
PROCESS = "process"
SWARM = "swarm"
"""What ``replicas.asked`` and ``replicas.found`` of a run may be: nothing; KIND:NAME, of which these are two kinds."""

HOST = "host"
"""The one deployment that is no container."""

DEPLOYMENTS = {
    HOST: "Host process",
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
    Column(
        "memory_bytes",
        "usage less inactive file cache; process tree without a control group of its own: PSS, or RSS where there is "
        "none, as of the last second",
    ),
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
    Column(
        "event",
        "found (there at the start), started, restarted, ended, not sampled, sampled again; of no replica: "
        "engine does not answer, engine answers again",
    ),
    Column("replica", "container name, service.slot, or host; empty: what happened to the engine"),
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


def round_folder(deployment: str, number: int) -> str:
    """Where the files of a round lie, within the experiment's folder; rounds count from 1."""
    return f"{deployment}/round-{number}"


class OutsideFolder(ValueError):
    """A path that leads out of the folder that it should lie in. The message names both."""


def inside(folder: Path, path: Path | str) -> Path:
    """The resolved path of ``path`` (relative to ``folder``), which must lie inside ``folder``, links followed.

    ``folder`` itself may be a link. It does not lie inside itself.

    Raises:
        OutsideFolder: ``path`` leads elsewhere, or nowhere.
    """
    try:
        root = folder.resolve()
        resolved = (root / path).resolve()
    except RuntimeError as error:
        raise OutsideFolder(f"{folder / path} leads nowhere: its links lead in a circle") from error
    except (OSError, ValueError) as error:  # a NUL or half a surrogate in it
        raise OutsideFolder(f"{str(path)!a} is not a path in {folder} ({error})") from error
    if root not in resolved.parents:
        raise OutsideFolder(f"{root / path} leads to {resolved}, which does not lie in {root}")
    return resolved


def write_whole(path: Path, text: str) -> None:
    """Write a text file (UTF-8), whole or not at all: readers find the old content or the new one, also after a power
    loss. The text is written beside the file first, and then renamed. A link at ``path`` is replaced by the file; what
    it leads to is left alone.

    Raises:
        OSError: it can't be written. The old content is still there.
    """
    new = path.with_name(f"{path.name}.{secrets.token_hex(4)}.new")
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        with open(os.open(new, flags, 0o666), "w", encoding="utf-8", newline="") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        new.replace(path)
    except BaseException:
        with suppress(OSError):
            new.unlink()
        raise
    flush_folder(path.parent)


def flush_folder(folder: Path) -> None:
    """Have the names in a folder on the disk, and not only in the kernel's memory."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def read_record(path: Path) -> Any:
    """The content of a JSON file, as strictly as JSON is defined.

    Raises:
        OSError: it can't be read.
        ValueError: it is not a file, is larger than ``MOST_RECORD_BYTES``, or holds what no recorder writes: no JSON,
            a number that is not finite or beyond 64 bits, half a surrogate, a key twice. The message says which.
    """
    if not stat.S_ISREG(path.stat().st_mode):  # a FIFO would keep whoever opens it waiting
        raise ValueError("it is not a file")
    with path.open("rb") as file:
        content = file.read(MOST_RECORD_BYTES + 1)
    if len(content) > MOST_RECORD_BYTES:
        raise ValueError(f"it is larger than {MOST_RECORD_BYTES / 1e6:.0f} MB")
    return parse_record(content)


def parse_record(content: bytes) -> Any:
    """The value that is written in JSON.

    Raises:
        ValueError: as ``read_record``.
    """
    try:
        said = json.loads(
            content.decode("utf-8"),
            parse_constant=_finite,
            parse_float=_finite,
            parse_int=_whole,
            object_pairs_hook=_object,
        )
        if reason := _why_not(said):
            raise ValueError(reason)
    except UnicodeDecodeError as error:
        raise ValueError("it is not text in UTF-8") from error
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error
    return said


@dataclass(frozen=True)
class _NoNumber:
    """What stands where a number should, until it is known at which key."""

    reason: str


def _finite(text: str) -> float | _NoNumber:
    number = float(text)
    return number if math.isfinite(number) else _NoNumber(f"{text[:40]} is not a finite number")


def _whole(text: str) -> int | _NoNumber:
    if len(text) > 20 or not -(2**63) <= int(text) < 2**63:
        return _NoNumber(f"{text[:40]} is a number beyond 64 bits")
    return int(text)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        twice = next(name for name, count in Counter(name for name, _ in pairs).items() if count > 1)
        raise ValueError(f"the key {twice[:40]!a} is there twice")
    for name, value in pairs:
        if reason := _why_not(name) or _why_not(value):
            raise ValueError(f"{name[:40]!a}: {reason}")
    return found


def _why_not(value: Any) -> str | None:
    """Why no recorder writes ``value``; None where one may. What lies in an object within it was looked at before."""
    if isinstance(value, _NoNumber):
        return value.reason
    if isinstance(value, list):
        return next(filter(None, map(_why_not, value)), None)
    if isinstance(value, str) and not value.isascii():
        try:
            value.encode("utf-8")
        except UnicodeEncodeError:
            return "half a surrogate, which is no character"
    return None


def machine_record() -> dict[str, str | int | None]:
    """What this machine is, as both JSON records state it; ``cpu_model`` and ``memory_bytes`` None where not told."""
    names = ("SC_PHYS_PAGES", "SC_PAGE_SIZE")
    told = all(name in os.sysconf_names for name in names)
    return {
        "node": platform.node(),
        "system": platform.system(),
        "kernel": platform.release(),
        "cpu_model": _cpu_model(),
        "architecture": platform.machine(),
        "cpu_count": os.cpu_count(),
        "memory_bytes": os.sysconf(names[0]) * os.sysconf(names[1]) if told else None,
    }


@dataclass(frozen=True)
class EngineElsewhere:
    """A Docker engine that does not run on this machine itself: host process and containers ran on two machines.

    ``is_virtual``: it is reached through this machine's own loopback or socket, so it is a virtual machine here (Docker
    Desktop, Colima); else another machine. ``cpu_count`` and ``machine_cpu_count`` are those of the engine and of this
    machine, None where not told.
    """

    is_virtual: bool
    cpu_count: int | None
    machine_cpu_count: int | None

    def __str__(self) -> str:
        where = "in a virtual machine" if self.is_virtual else "on another machine"
        counts = (self.cpu_count, self.machine_cpu_count)
        if None in counts:
            return f"the engine runs {where}"
        with_cpus = "with {} of {} CPUs" if self.is_virtual else "with {} CPUs; this one has {}"
        return f"the engine runs {where} {with_cpus.format(*counts)}"


SAME_MEMORY = 0.01
"""The kernel keeps some of the memory for itself, not the same at each boot."""

TELLING_KEYS = ("kernel", "cpu_count", "architecture", "memory_bytes")
"""What two records of one machine have in common."""

ARCHITECTURES = {"arm64": "aarch64", "amd64": "x86_64"}
"""Other names of one architecture: macOS and Windows use the first ones."""


def engine_elsewhere(machine: Mapping[str, Any], engine: Mapping[str, Any]) -> EngineElsewhere | None:
    """Whether an engine runs on another machine than ``machine`` (both as ``experiment.json`` holds them); None where
    nothing shows that. What either record does not tell is not compared.
    """
    pairs = [(machine.get(key), engine.get(key)) for key in TELLING_KEYS]
    if all(None in pair or _is_same(*pair) for pair in pairs):
        return None
    address = urlsplit(str(engine.get("endpoint") or "unix:"))
    is_virtual = address.scheme in ("unix", "npipe") or is_loopback(address.hostname or "")
    return EngineElsewhere(is_virtual, engine.get("cpu_count"), machine.get("cpu_count"))


def _is_same(one: Any, other: Any) -> bool:
    if isinstance(one, str):
        return bool(ARCHITECTURES.get(one.lower(), one) == ARCHITECTURES.get(str(other).lower(), other))
    return bool(abs(one - other) <= (SAME_MEMORY * one if one > 1e6 else 0))


def is_loopback(name: str) -> bool:
    """Whether a host name or address is this machine's own loopback."""
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return name.lower() in ("localhost", "localhost.")


def _cpu_model() -> str | None:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or None
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), None)
