"""The columns of the CSV files: names with units, and what each one means."""

from __future__ import annotations

from dataclasses import dataclass


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


def column_names(columns: tuple[Column, ...]) -> list[str]:
    """The column names, in the order in which they stand in the file."""
    return [column.name for column in columns]
