"""How the load was shared by the replicas, and whether the users' connections explain that."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import pandas as pd
from scipy import special

from analysis.measure.quantity import NAN
from analysis.measure.rounds import Measurement
from analysis.measure.series import RUNS_AT_HAND, coverage, totals
from analysis.read.rows import Rows
from analysis.read.runs import Run
from runfiles.reconnect import ReconnectEvery


@dataclass(frozen=True)
class ReplicaShare:
    """One replica's part in a run: connections, answers, bytes through its interfaces, CPU; shares are 0 to 1.

    Connections are those of the whole run, because users that keep theirs opened them before the measured phase. Before
    a proxy they say nothing: they end there. If no answer names its replica, they are those that the replica accepted,
    and its requests are not known. What is not known is NaN; ``missing`` says why bytes and CPU are not. ``is_named``
    is False for answers that did not name their replica.
    """

    name: str
    connections: float
    connection_share: float
    requests: float
    request_share: float
    received_bytes: float
    sent_bytes: float
    byte_share: float
    cpu_share: float
    missing: str | None = None
    is_named: bool = True

    @property
    def title(self) -> str:
        return self.name if self.is_named else "(did not say)"


@dataclass(frozen=True)
class Evenness:
    """How evenly the load was dealt.

    ``jain`` is Jain's index of the answers: 1 if all replicas gave the same number, 1 / n if one gave all (R. Jain and
    others, 1984). ``p_value`` is the chance that a fair deal of as many ``cards`` (connections or answers) comes out at
    least as uneven (chi-squared); NaN with fewer than 5 for each replica.
    """

    jain: float
    largest: float
    expected_largest: float
    why: str
    cards: str
    p_value: float


@dataclass(frozen=True)
class Balance:
    """How the load of one round was shared by the replicas of a deployment.

    ``deals_requests``: a proxy deals out the requests; else Swarm's ingress deals out the connections.
    ``replaced_after``: how long a kept connection was used before a new one replaced it; None: none was replaced.
    """

    measurement: Measurement
    number: int
    shares: Sequence[ReplicaShare]
    even: Evenness | None
    keeps_connections: bool
    deals_requests: bool
    replaced_after: ReconnectEvery | None

    @property
    def is_sticky(self) -> bool:
        """Whether each user stayed with one replica."""
        return self.keeps_connections and not self.deals_requests and self.replaced_after is None

    @property
    def is_open(self) -> bool:
        """Whether the workload was an open one, in which no connection belongs to a user."""
        return self.measurement.deployment.is_open

    @property
    def id(self) -> str:
        return f"{self.measurement.name}-{self.number}"

    @property
    def is_nameless(self) -> bool:
        """Whether there are several replicas and no answer says which of them gave it."""
        return len(self.shares) > 1 and all(math.isnan(share.requests) for share in self.shares)


@dataclass(frozen=True)
class Reopened:
    """For how many of the answers a connection was opened, ``of`` how many."""

    answers: int
    of: int


def reopened(loads: Iterable[Run]) -> Reopened | None:
    """The answers to users that keep their connection and yet had to open one, in all rounds of a deployment.

    None if these are at most half of their answers, without those whose connection the load generator replaced: then
    the server keeps connections too. A server that answers with HTTP/1.0, or with ``Connection: close``, closes each.
    """
    kept = [run for run in loads if run.asks_to_keep]
    opened = [int((run.answered["connection_reused"] == 0).sum()) for run in kept]
    by_server = sum(max(0, count - (run.record.reconnects or 0)) for count, run in zip(opened, kept, strict=True))
    found = Reopened(sum(opened), sum(len(run.answered) for run in kept))
    return found if by_server > 0.5 * found.of else None


@lru_cache(RUNS_AT_HAND)
def replica_shares(run: Run) -> list[ReplicaShare]:
    """What each replica answered, and what its interfaces carried, in the measured phase.

    A replica that answered nothing is included, with a share of 0. Answers name a replica by its name, its ID or its
    host name.
    """
    counts, opened = _counts_of(run)
    everybody = sorted(set(counts.index) | set(run.replica_names.values()))
    covered = coverage(run)
    whole = {name for name in everybody if name in covered and covered[name].is_whole}
    used = totals(run)[["net_rx_bytes", "net_tx_bytes", "cpu_seconds"]].reindex(sorted(whole))
    used = used.reindex(everybody)  # if a replica's part is not known, no share is
    all_bytes = used[["net_rx_bytes", "net_tx_bytes"]].to_numpy().sum()
    all_cpu = used["cpu_seconds"].sum(skipna=False)
    shares = []
    for name, (received, sent, cpu) in zip(everybody, used.to_numpy(dtype=float), strict=True):
        requests, connections = float(counts.get(name, 0)), float(opened.get(name, 0))
        shares.append(
            ReplicaShare(
                name=name,
                connections=connections,
                connection_share=connections / max(1.0, opened.sum(skipna=False)),
                requests=requests,
                request_share=requests / max(1.0, counts.sum(skipna=False)),
                received_bytes=float(received),
                sent_bytes=float(sent),
                byte_share=(received + sent) / all_bytes if all_bytes > 0 else NAN,
                cpu_share=cpu / all_cpu if all_cpu > 0 else NAN,
                missing=str(covered[name]) if name in covered and name not in whole else None,
                is_named=name != "",
            )
        )
    return shares


def _counts_of(run: Run) -> tuple[pd.Series, pd.Series]:
    """How many answers each replica gave, and how many connections it got, by its name.

    If no answer says who gave it, a single replica gave all. Of several, only the connections are known that they
    accepted themselves.
    """
    answered = _by_replica(run, run.answered)
    opened = _by_replica(run, _opened(run))
    names = sorted(set(run.replica_names.values()))
    if not names or set(answered.index) != {""}:
        return answered, opened
    if len(names) == 1:
        return answered.rename({"": names[0]}), opened.rename({"": names[0]})
    return pd.Series(NAN, index=names), accepted(run).reindex(names)


def _opened(run: Run) -> pd.DataFrame:
    """The requests of the whole run that opened a connection, and were answered."""
    return run.requests[(run.requests["connection_reused"] == 0) & (run.requests["error"] == "")]


def accepted(run: Run) -> pd.Series:
    """How many connections each replica accepted from its first sample in the run to its last, by its name."""
    known = run.samples.dropna(subset=["connections_accepted"])
    each = known.groupby(["replica", "replica_id"], observed=True)["connections_accepted"]
    found: pd.Series = (each.last() - each.first()).groupby("replica", observed=True).sum()
    return found


def _by_replica(run: Run, requests: pd.DataFrame | Rows) -> pd.Series:
    """How many of some of a run's requests each replica answered."""
    told = requests["replica"].value_counts()
    told = told[told > 0]
    return told.groupby([run.replica_names.get(said, said) for said in told.index]).sum()


def evenness(run: Run, deals_requests: bool = False) -> Evenness | None:
    """How evenly the answers were dealt; None if no answer names its replica, or there is only one replica.

    ``deals_requests``: as in ``Balance``.
    """
    shares = [share for share in replica_shares(run) if share.is_named]
    answers = np.array([share.requests for share in shares], dtype=float)
    if len(shares) < 2 or not np.nansum(answers):
        return None
    expected, why = expected_largest_share(run, len(shares), deals_requests)
    keeps = keeps_connections(run) and not deals_requests
    dealt = np.array([share.connections for share in shares]) if keeps else answers
    return Evenness(
        jain=float(answers.sum() ** 2 / (len(answers) * (answers**2).sum())),
        largest=float(answers.max() / answers.sum()),
        expected_largest=expected,
        why=why,
        cards="connections" if keeps else "answers",
        p_value=_chance_of(dealt) if dealt.sum() >= 5 * len(dealt) else NAN,
    )


def _chance_of(dealt: np.ndarray) -> float:
    """Pearson's chi-squared test of an even deal."""
    mean = dealt.mean()
    return float(special.chdtrc(len(dealt) - 1, ((dealt - mean) ** 2 / mean).sum()))


def keeps_connections(run: Run) -> bool:
    """Whether the users kept their connections in the measured phase, if only until they replaced them."""
    least = 0.5 if run.replaced_after is None else 0.0
    return bool(run.measured_requests["connection_reused"].mean() > least)


def replicas_of(run: Run) -> int:
    """How many replicas the load met: those that were found or, if none were, those that answered; at least 1."""
    found = {replica.name for replica in run.record.replicas.list} or set(run.samples["replica"].unique())
    answered = set(run.measured_requests["replica"].unique()) - {""}
    return max(1, len(found) or len(answered))


def expected_largest_share(run: Run, replicas: int, deals_requests: bool = False) -> tuple[float, str]:
    """The share of the busiest replica if connections are dealt out in turn, and why.

    A proxy that ``deals_requests`` gives each to the replica with the fewest open ones, so each gets about 1 / R.
    Swarm's ingress (IPVS, round-robin) balances connections. Users that keep theirs are dealt to the R replicas like
    cards, so at most ceil(U / R) of U users meet the same one. If each request has its own connection, each replica
    gets 1 / R. In an open workload the connections are used as they are free, some much more than others. If
    connections are replaced, K of them are dealt in all: about ceil(K / R) of K to the busiest one.
    """
    users = run.record.users or 0
    if deals_requests:
        return 1 / replicas, "the proxy gives each request to the replica with the fewest open requests"
    if keeps_connections(run) and run.replaced_after is not None:
        opened = max(1, len(_opened(run)))
        return math.ceil(opened / replicas) / opened, f"{opened:,} connections were dealt to the replicas in turn"
    if keeps_connections(run) and run.record.open is not None:
        return 1.0, "a request takes any kept connection that is free, so a few of them may carry most requests"
    if keeps_connections(run) and users:
        share = math.ceil(users / replicas) / users
        return (
            share,
            f"{users} users keep their connections: at most {math.ceil(users / replicas)} of them on one replica",
        )
    return 1 / replicas, "each request has a connection of its own"
