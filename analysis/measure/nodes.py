"""What each node of a swarm answered and used, and how much later replicas on other nodes answered."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from analysis.measure.balance import keeps_connections
from analysis.measure.latency import median_told, quantiles, without_thin_percentiles
from analysis.measure.quantity import Estimate, Estimates, missing
from analysis.measure.resources import resources
from analysis.measure.rounds import Measurement, mean_over_rounds, over_rounds, t_interval
from analysis.read.runs import Run
from runfiles.cluster import ClusterRecord

SHARE = "share"
"""The key of a node's share of the answers, in percent."""
CROSSED, CROSSED_PER_ANSWER = "crossed_mb", "crossed_kb_per_1000"
"""The keys of what crossed the nodes: in a round, and for 1,000 answers of replicas on other nodes."""
COMPARED = ("median_ms", "p95_ms", "inference_ms", "rest_ms")
"""The quantities of which the replicas on other nodes are set against those on the entry node."""
SAMPLED = ("cpu_percent", "interface_in_mb", "interface_out_mb")
ENTRY_NOT_KNOWN = "the record does not say through which node the load came in"


@dataclass(frozen=True)
class NodeUse:
    """One node: the replicas that ran there in any round, and what they did together. ``is_entry``: the load came in
    through this node; None: not known."""

    name: str
    is_entry: bool | None
    replicas: tuple[str, ...]
    summary: Estimates


@dataclass(frozen=True)
class Nodes:
    """The nodes on which a deployment's replicas ran, under load.

    ``entry``: the node at whose published port the load came in; None: not known. ``unplaced``: answers that belong to
    no node, since their replica is not known, or moved from one node to another.

    ``crossed``: what crossed the nodes. Swarm's ingress forwards each connection from the entry node to the replica
    that it is dealt to. If that is on another node, requests and answers go there and back through the ingress network
    (VXLAN). So these are the bytes through the network interfaces of all replicas on other nodes, in and out, counted
    in their containers. They are not what the cable carried: each packet gets 50 bytes more for VXLAN around it, and
    the swarm's own talk is not in them. All else that these replicas exchange, such as with a database, is.

    ``local`` and ``remote``: the replicas on the entry node, and those on the others. ``later``: remote minus local,
    for each of ``COMPARED``, round by round: the same users, at the same time. ``is_sticky``: each user kept its
    connection, so it met one replica only.
    """

    measurement: Measurement
    entry: str | None
    nodes: tuple[NodeUse, ...]
    unplaced: int
    crossed: Estimates
    local: Estimates
    remote: Estimates
    later: Estimates
    is_sticky: bool


def nodes_of(load: Measurement, cluster: ClusterRecord | None) -> Nodes | None:
    """The nodes of one deployment's load; None if all of its replicas ran on one node, or it is not known where."""
    runs = load.deployment.loads
    placed = {number: _places(run, cluster) for number, run in runs.items()}
    names = sorted({node for each in placed.values() for node in each.values()})
    if len(names) < 2:
        return None
    entry = None if cluster is None else cluster.entry_node
    local, remote = {}, {}
    for number, run in runs.items() if entry is not None else ():
        here = [replica for replica, node in placed[number].items() if node == entry]
        local[number] = _measure(run, here)
        remote[number] = _measure(run, [replica for replica in placed[number] if replica not in here])
    used = [_use(name, entry, runs, placed) for name in names]
    of_all = sum(len(run.answered) for run in runs.values())
    return Nodes(
        measurement=load,
        entry=entry,
        nodes=tuple(used),
        unplaced=of_all - sum(node.summary["requests"].n for node in used),
        crossed=_crossed(remote),
        local=_summary([*local.values()]),
        remote=_summary([*remote.values()]),
        later=_later(local, remote, entry),
        is_sticky=not load.deployment.is_open
        and all(keeps_connections(run) and run.replaced_after is None for run in runs.values()),
    )


def part_of(run: Run, replicas: Collection[str]) -> Run:
    """What some of the replicas answered and used, as a run of its own. Its record has no counts of requests."""
    called = {said for said, name in run.replica_names.items() if name in replicas} | set(replicas)
    record = run.record
    listed = tuple(replica for replica in record.replicas.list if replica.name in replicas)
    return replace(
        run,
        record=replace(record, requests=None, failures=None, replicas=replace(record.replicas, list=listed)),
        requests=run.requests[run.requests["replica"].isin(called).to_numpy()],
        samples=run.samples[run.samples["replica"].isin(replicas).to_numpy()],
        recorded=None if run.recorded is None else part_of(run.recorded, replicas),
    )


def _places(run: Run, cluster: ClusterRecord | None) -> dict[str, str]:
    """The node of each replica, by the replica's name. One that was on two nodes has none: its answers do not say from
    which of them they came."""
    said: dict[str, set[str]] = {}
    told = [(replica.name, replica.node) for replica in run.record.replicas.list]
    for frame in (run.samples, run.events):
        pairs = frame[["replica", "node"]].drop_duplicates()
        told += [*zip(pairs["replica"], pairs["node"], strict=True)]
    for replica, node in told:
        if replica and node:
            said.setdefault(replica, set()).add(cluster.name_of(node) if cluster else node)
    return {replica: next(iter(nodes)) for replica, nodes in said.items() if len(nodes) == 1}


def _use(name: str, entry: str | None, runs: Mapping[int, Run], placed: Mapping[int, Mapping[str, str]]) -> NodeUse:
    own = {number: [replica for replica, node in placed[number].items() if node == name] for number in runs}
    rounds = [_measure(run, own[number]) for number, run in runs.items()]
    return NodeUse(
        name,
        None if entry is None else name == entry,
        tuple(sorted({replica for replicas in own.values() for replica in replicas})),
        _summary(rounds),
    )


def _measure(run: Run, replicas: Collection[str]) -> dict[str, Estimate]:
    """What some of the replicas did in one round."""
    part = part_of(run, replicas)
    answered = part.answered
    times, queue, model = (answered[name].to_numpy() for name in ("response_time_ms", "queue_ms", "inference_ms"))
    count, of_all = len(answered), len(run.answered)
    sampled = resources(part) if replicas else {}
    none = missing("no replica ran here in any round")
    return {
        "requests": Estimate(count, count, "answers", which="to requests sent in the measured phase"),
        SHARE: Estimate(100 * count / of_all, of_all, "answers") if of_all else missing("no request was answered"),
        **dict(zip(("median_ms", "p95_ms"), quantiles(times, [0.5, 0.95]), strict=True)),
        "queue_ms": median_told(queue),
        "inference_ms": median_told(model),
        "rest_ms": median_told(times - queue - model),
        **{key: sampled.get(key, none) for key in (*SAMPLED, "interface_kb_per_1000")},
    }


def _summary(rounds: Sequence[Estimates]) -> dict[str, Estimate]:
    """The estimates over the rounds."""
    if not rounds:
        return {}
    shares = {SHARE: mean_over_rounds([estimates[SHARE] for estimates in rounds])}
    return without_thin_percentiles(over_rounds(rounds)) | shares


def _crossed(remote: Mapping[int, Estimates]) -> dict[str, Estimate]:
    """What crossed the nodes, in the mean of the rounds in which all of it was counted."""
    if not remote:
        return dict.fromkeys((CROSSED, CROSSED_PER_ANSWER), missing(ENTRY_NOT_KNOWN))
    both = []
    for estimates in remote.values():
        into, out = estimates["interface_in_mb"], estimates["interface_out_mb"]
        both.append(replace(into, value=into.value + out.value, missing=into.missing or out.missing))
    return {
        CROSSED: mean_over_rounds(both),
        CROSSED_PER_ANSWER: mean_over_rounds([estimates["interface_kb_per_1000"] for estimates in remote.values()]),
    }


def _later(local: Mapping[int, Estimates], remote: Mapping[int, Estimates], entry: str | None) -> dict[str, Estimate]:
    """How much later the replicas on other nodes answered, for each of ``COMPARED``."""
    if entry is None:
        return dict.fromkeys(COMPARED, missing(ENTRY_NOT_KNOWN))
    whole = _summary([*local.values()]), _summary([*remote.values()])
    return {key: _difference(key, local, remote, whole, entry) for key in COMPARED}


def _difference(
    key: str,
    local: Mapping[int, Estimates],
    remote: Mapping[int, Estimates],
    whole: tuple[Estimates, Estimates],
    entry: str,
) -> Estimate:
    """Remote minus local, in each round that has both; then their mean, with its t interval. ``whole``: both over the
    rounds, of which neither may be lacking."""
    for estimates, where in zip(whole, (f"on {entry}, through which the load came in", "on another node"), strict=True):
        if not estimates["requests"].n:
            return missing(f"no replica {where}, answered")
        if not estimates[key].is_measured:
            return replace(missing(f"{where}: {estimates[key].missing}"), n=estimates[key].n)
    pairs = [(local[number][key], remote[number][key]) for number in local]
    pairs = [(here, there) for here, there in pairs if here.is_measured and there.is_measured]
    if not pairs:
        return missing("no round has both")
    values = np.array([there.value - here.value for here, there in pairs])
    low, high = t_interval(values)
    n = sum(here.n + there.n for here, there in pairs)
    return Estimate(float(values.mean()), n, "answers", low, high, rounds=len(pairs), which="of both")


def is_proven(later: Estimate) -> bool:
    """Whether the interval of a difference leaves out 0."""
    return later.has_interval and (later.low > 0 or later.high < 0)
