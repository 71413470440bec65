"""How the load was spread over the replicas, and whether that is what its users' connections make of it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import pandas as pd
from scipy import special

from analysis.measure.series import RUNS_AT_HAND, coverage, totals
from analysis.read.results import Run

NAN = float("nan")


@dataclass(frozen=True)
class ReplicaShare:
    """One replica's part in a run: connections, answers, bytes through its interfaces, CPU; shares are 0 to 1.

    Connections are those of the whole run: users that keep theirs opened them before the measured phase. Bytes and
    shares of bytes and CPU that are not known are NaN; ``missing`` says why. ``is_named`` is False for the answers that
    did not say who gave them.
    """

    name: str
    connections: int
    requests: int
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
    """How even the deal was.

    ``jain`` is Jain's index of the answers: 1 where all replicas gave as many, 1 / n where one gave all (R. Jain and
    others, 1984). ``p_value`` says how often a fair draw of the same number of ``cards`` would come out at least as
    uneven (chi-squared); NaN where there are fewer than 5 to a replica.
    """

    jain: float
    largest: float
    expected_largest: float
    why: str
    cards: str
    p_value: float


@lru_cache(RUNS_AT_HAND)
def replica_shares(run: Run) -> list[ReplicaShare]:
    """Who answered, and whose interfaces carried how much, in the measured phase.

    A replica that answered nothing stands there too, with a share of 0. Answers name a replica by its name, its ID or
    its host name.
    """
    names = run.replica_names

    def count(requests: pd.DataFrame) -> pd.Series:
        told = requests["replica"].value_counts()
        told = told[told > 0]
        return told.groupby([names.get(said, said) for said in told.index]).sum()

    counts = count(run.answered)
    opened = count(run.requests[(run.requests["connection_reused"] == 0) & (run.requests["error"] == "")])
    everybody = sorted(set(counts.index) | set(names.values()))
    covered = coverage(run)
    whole = [name for name in everybody if name in covered and covered[name].is_whole]
    used = totals(run)[["net_rx_bytes", "net_tx_bytes", "cpu_seconds"]].reindex(whole)
    used = used.reindex(everybody)  # shares of a whole that lacks somebody's part are none
    all_bytes = used[["net_rx_bytes", "net_tx_bytes"]].to_numpy().sum()
    all_cpu = used["cpu_seconds"].sum(skipna=False)
    shares = []
    for name, (received, sent, cpu) in zip(everybody, used.to_numpy(dtype=float), strict=True):
        requests = int(counts.get(name, 0))
        shares.append(
            ReplicaShare(
                name=name,
                connections=int(opened.get(name, 0)),
                requests=requests,
                request_share=requests / max(1, counts.sum()),
                received_bytes=float(received),
                sent_bytes=float(sent),
                byte_share=(received + sent) / all_bytes if all_bytes > 0 else NAN,
                cpu_share=cpu / all_cpu if all_cpu > 0 else NAN,
                missing=str(covered[name]) if name in covered and name not in whole else None,
                is_named=name != "",
            )
        )
    return shares


def evenness(run: Run) -> Evenness | None:
    """How even the replicas' answers were; None where nobody said who answered, or only one replica was there."""
    shares = [one for one in replica_shares(run) if one.is_named]
    answers = np.array([one.requests for one in shares], dtype=float)
    if len(shares) < 2 or not answers.any():
        return None
    expected, why = expected_largest_share(run, len(shares))
    keeps = run.measured["connection_reused"].mean() > 0.5
    dealt = np.array([one.connections for one in shares]) if keeps else answers
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


def replicas_of(run: Run) -> int:
    """How many replicas the load met: those that were found, else those that answered; at least 1."""
    found = {replica.name for replica in run.record.replicas.list} or set(run.samples["replica"].unique())
    answered = set(run.measured["replica"].unique()) - {""}
    return max(1, len(found) or len(answered))


def expected_largest_share(run: Run, replicas: int) -> tuple[float, str]:
    """The share of the busiest replica if connections are dealt round, and why.

    Swarm's ingress (IPVS, round-robin) balances connections. Users that keep theirs are dealt to the replicas like
    cards: of U users ceil(U / R) meet one replica. With a connection a request each replica gets 1 / R.
    """
    reused = run.measured["connection_reused"].mean()
    users = run.record.users or 0
    if reused > 0.5 and users:
        share = math.ceil(users / replicas) / users
        return (
            share,
            f"{users} users keep their connections: at most {math.ceil(users / replicas)} of them on one replica",
        )
    return 1 / replicas, "each request has a connection of its own"
