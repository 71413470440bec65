"""Replicas that are started after a planned change: when they answer first, and when they get their share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from analysis.measure.quantity import NAN
from analysis.measure.spans import NEVER, Outcome, Span
from analysis.read.runs import Run
from runfiles.events import ENDED, FOUND, RESTARTED, STARTED

FAIR = 0.9
"""A replica has its fair share if it gives this much of 1/(number of replicas) of the answers of a second."""
FEWEST_FOR_SHARE = 5
"""A second tells a share if it has so many answers for each replica."""

NO_NEW_REPLICA = "no new replica was started"
NO_NAMES = "the answers do not say which replica gave them"
NO_EVENTS = "the replicas were not watched"
ALONE = "there is one replica only"


@dataclass(frozen=True)
class Started:
    """The replicas that were started in a span, without those that ended again before they answered, if there are
    others. ``count``: how many. ``kept``: answers over kept connections after the first answer of one of them (or its
    start, if none answered), ``reached``: how many of these came from one of them.
    """

    count: int
    kept: int
    reached: int
    first_answer: Outcome
    fair_share: Outcome


def started_in(run: Run, span: Span) -> Started:
    """What became of the replicas that were started in a span."""
    every = {replica: _first_answer(span, replica) for replica in _new_replicas(run, span)}
    is_there = {replica: replica.until_unix_s >= span.end_unix_s or not np.isnan(at) for replica, at in every.items()}
    lasting = {replica: at for replica, at in every.items() if is_there[replica]}
    firsts = lasting or every
    kept, reached = _kept(span, firsts)
    why = _why_none(run, firsts)
    first, fair = (Outcome(missing=why),) * 2 if why else (_first_of(span, firsts), _fair_share(run, span, firsts))
    return Started(len(firsts), kept, reached, first, fair)


@dataclass(frozen=True)
class _NewReplica:
    """A replica that was started in a span. ``called``: the names by which its answers are known; ``own_id``: the one
    that no other replica bore, empty if there is none. From ``from_unix_s`` on an answer with one of the names is its
    own: before that, its predecessor bore the name. ``until_unix_s``: when it, or the span, ended."""

    called: frozenset[str]
    own_id: str
    from_unix_s: float
    until_unix_s: float


def _new_replicas(run: Run, span: Span) -> list[_NewReplica]:
    """The replicas that were started, or restarted, in a span."""
    began, end = span.change.began_unix_s, span.end_unix_s
    bearers: dict[str, str] = {}
    found: list[_NewReplica] = []
    for event in run.events.to_dict("records"):
        name, id_, at, kind = event["replica"], event["replica_id"], event["at_unix_s"], event["event"]
        if kind in (STARTED, RESTARTED) and began <= at < end:
            predecessor = id_ if kind == RESTARTED else bearers.get(name)
            from_unix_s = began if predecessor is None else _ended(run, name, predecessor, (began, at))
            called = frozenset(said for said, known in run.replica_names.items() if known == name) | {name}
            until = min(end, _ended(run, name, id_, (at, end)))
            found.append(_NewReplica(called, "" if predecessor == id_ else id_, from_unix_s, until))
        if kind in (FOUND, STARTED):
            bearers[name] = id_
    return found


def _ended(run: Run, name: str, id_: str, between_unix_s: tuple[float, float]) -> float:
    """When a replica ended, not before the first moment; the second one if it did not, or that is not known."""
    events = run.events
    is_end = (events["event"] == ENDED) & (events["replica"] == name) & (events["replica_id"] == id_)
    ends = events["at_unix_s"][is_end.to_numpy()]
    later = ends[(ends >= between_unix_s[0]).to_numpy()]
    return float(later.iloc[0]) if len(later) else between_unix_s[1]


def _answers_of(span: Span, replica: _NewReplica) -> np.ndarray:
    """Which of the answers of a span the new replica gave."""
    answers = span.answers
    is_named = answers["replica"].isin(replica.called).to_numpy()
    is_own = (answers["replica"] == replica.own_id).to_numpy() & bool(replica.own_id)
    over = span.answered_unix_s
    is_late = (over > replica.until_unix_s) & (replica.until_unix_s < span.end_unix_s)
    return is_own | (is_named & (over >= replica.from_unix_s) & ~is_late)


def _first_answer(span: Span, replica: _NewReplica) -> float:
    """When a new replica gave its first answer (Unix time); NaN: it gave none."""
    over = span.answered_unix_s[_answers_of(span, replica)]
    return float(over.min()) if len(over) else NAN


def _why_none(run: Run, firsts: Mapping[_NewReplica, float]) -> str:
    """Why nothing can be said of new replicas; empty if it can."""
    if run.events.empty:
        return NO_EVENTS
    if not firsts:
        return NO_NEW_REPLICA
    return NO_NAMES if (run.measured_requests["replica"] == "").all() else ""


def _first_of(span: Span, firsts: Mapping[_NewReplica, float]) -> Outcome:
    """From the change to the first answer of any new replica."""
    told = [at for at in firsts.values() if not np.isnan(at)]
    return Outcome(min(told) - span.change.began_unix_s) if told else NEVER


def _fair_share(run: Run, span: Span, firsts: Mapping[_NewReplica, float]) -> Outcome:
    """From the change to the end of the second by which all new replicas have had their fair share in a second."""
    replicas = _replicas_at(run, span.end_unix_s)
    if replicas < 2:
        return Outcome(missing=ALONE)
    second = np.floor(span.answered_unix_s - span.change.began_unix_s).astype(int)
    seconds = int(span.length_s)
    of_all = np.bincount(second[second < seconds], minlength=seconds)
    if not (of_all >= FEWEST_FOR_SHARE * replicas).any():
        return Outcome(missing=f"no second has {FEWEST_FOR_SHARE} answers for each replica")
    reached = []
    for replica in firsts:
        own = second[_answers_of(span, replica)]
        of_own = np.bincount(own[own < seconds], minlength=seconds)
        is_fair = (of_all >= FEWEST_FOR_SHARE * replicas) & (of_own * replicas >= FAIR * of_all)
        if not is_fair.any():
            return NEVER
        reached.append(float(is_fair.argmax() + 1))
    return Outcome(max(reached))


def _replicas_at(run: Run, at_unix_s: float) -> int:
    """How many replicas there were at a moment, by the events."""
    there: set[tuple[str, str]] = set()
    for event in run.events.to_dict("records"):
        who = (event["replica"], event["replica_id"])
        if event["at_unix_s"] >= at_unix_s:
            break
        if event["event"] in (FOUND, STARTED):
            there.add(who)
        elif event["event"] == ENDED:
            there.discard(who)
    return len(there)


def _kept(span: Span, firsts: Mapping[_NewReplica, float]) -> tuple[int, int]:
    """How many answers came over kept connections since a new replica answers (or started, if it gave none), and how
    many of these a new one gave."""
    if not firsts:
        return 0, 0
    told = [at for at in firsts.values() if not np.isnan(at)]
    since = min(told) if told else min(replica.from_unix_s for replica in firsts)
    answers = span.answers
    is_kept = (answers["connection_reused"] == 1).to_numpy() & (answers["started_at_unix_s"] >= since).to_numpy()
    is_new = np.any([_answers_of(span, replica) for replica in firsts], axis=0)
    return int(is_kept.sum()), int((is_kept & is_new).sum())
