"""What a planned change does to a load that goes on: one change in one run, from the rows of that run.

A change counts from its begin to the begin of the next one, or to the end of the load (its *span*); that a paused
replica goes on belongs to the pause. docs/changes.md defines each figure.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import pandas as pd
from scipy import special

from analysis.measure.quantity import NAN
from analysis.read.runs import Run
from runfiles.events import DROPPED, ENDED, FOUND, OVER_BOUND, RESTARTED, RESUME, RUN_TIME, STARTED, UNANSWERED

BEFORE_S = 20
"""A change is compared with so many whole seconds before it, or with as many as there are since the change before."""
FEWEST_SECONDS = 5
"""With fewer whole seconds before it there is nothing to compare with."""
FEWEST_IN_SECOND = 5
"""A second has a median from so many requests on."""
SLOWER = 1.1
"""The median of a second is as before up to this much above the mean of those of the seconds before, ..."""
RANGE = 0.975
"""... or up to the upper end of the range in which one more such second lies with 95% (Student's t), if that is
higher."""
HOLD_S = 3
"""The median is as before again if it is so for so many seconds in a row, ..."""
HOLD_SHARE = 0.8
"""... and in this share of all seconds from there to the end of the span. Simulated loads without any change, with 20 s
before and after it, were wrongly called not as before to the end in 0.2% of the cases, even where the medians of single
seconds differed by 8% (standard deviation)."""
SLOWED = 0.99
"""A request is slowed if it took longer than this share of the requests before the change."""
FEWEST_BEFORE = 100
"""With fewer requests before the change it is not known which were slowed."""
FAIR = 0.9
"""A replica has its fair share if it gives this much of 1/(number of replicas) of the answers of a second."""
FEWEST_FOR_SHARE = 5
"""A second tells a share if it has so many answers for each replica."""

TIMES = ("errors_end_s", "silent_s", "latency_back_s", "extra_s", "first_answer_s", "fair_share_s")
"""The figures of a change that are times, by their keys."""
UNSENT = {DROPPED: "dropped", OVER_BOUND: "over_bound", UNANSWERED: "unanswered"}
"""What may become of a request instead of a row -> its name in the record of a run."""

NO_NEW_REPLICA = "no new replica was started"
NO_NAMES = "the answers do not say which replica gave them"
NO_EVENTS = "the replicas were not watched"
FEW_BEFORE = "too few requests before the change to compare with"
ALONE = "there is one replica only"
NO_ANSWERS = "nothing was answered"
FEW_AFTER = f"fewer than {HOLD_S} whole seconds after the change"


@dataclass(frozen=True)
class Outcome:
    """A time in s. ``is_never``: it did not come to pass before the span ended. ``missing``: why it is not known, or
    why there is none. One of the three holds."""

    value: float = NAN
    is_never: bool = False
    missing: str = ""

    @property
    def is_told(self) -> bool:
        return not self.is_never and not self.missing


NEVER = Outcome(is_never=True)


@dataclass(frozen=True)
class Change:
    """A change that was made. ``number``: its place in the plan, from 1. ``replica`` is empty if it was made to all.
    ``resumed_unix_s``: when a paused replica went on; NaN: it was not paused, or did not go on."""

    number: int
    action: str
    began_unix_s: float
    replica: str = ""
    resumed_unix_s: float = NAN


@dataclass(frozen=True, eq=False)
class Span:
    """The rows of a run that belong to a change.

    ``owned``: the requests that were over (answered or failed) in the span, also those that waited for their answer
    when it began. ``due``: the requests that were due (sent, if users wait for their answers) in it. ``before``: those
    that were over in the ``BEFORE_S`` seconds before. ``unsent``: arrivals of an open workload without a row, by the
    names of ``UNSENT``. ``is_last``: the span ends with the load, and not with the next change.
    """

    change: Change
    end_unix_s: float
    is_last: bool
    before: pd.DataFrame
    before_from_unix_s: float
    owned: pd.DataFrame
    due: pd.DataFrame
    unsent: Mapping[str, int]

    @property
    def length_s(self) -> float:
        return self.end_unix_s - self.change.began_unix_s


@dataclass(frozen=True, eq=False)
class Recovery:
    """What one change did in one run.

    ``requests``: all that belong to it, with or without a row. ``errors``: how many failed, by the error. ``unsent`` as
    in ``Span``. ``retried``: sent again over a new connection, and answered. ``slowed``: see ``SLOWED``.
    ``new_replicas``: how many were started. ``kept``: requests over kept connections after the first answer of a new
    replica (or its start, if it gave none), ``reached``: how many of these a new replica answered. ``times``: an
    outcome for each of ``TIMES``. ``is_down``: at the end of the span nothing was answered. ``latency_limit_ms``: up
    to which median a second is as before; NaN: not known.
    """

    change: Change
    length_s: float
    is_last: bool
    requests: int
    errors: Mapping[str, int]
    unsent: Mapping[str, int]
    retried: int
    slowed: int
    new_replicas: int
    kept: int
    reached: int
    is_down: bool
    latency_limit_ms: float
    times: Mapping[str, Outcome] = field(default_factory=dict)

    @property
    def failed(self) -> int:
        return sum(self.errors.values())

    @property
    def lost(self) -> int:
        """Requests that were not answered, or with an error; without those that the load generator did not send."""
        return self.failed + self.unsent["over_bound"] + self.unsent["unanswered"]


def recoveries(run: Run) -> list[Recovery]:
    """What each change did that was made in a run, in the order of time."""
    return [_recovery(run, span) for span in spans(run)]


def changes_of(run: Run) -> list[Change]:
    """The changes that were made, in the order of time."""
    rows = [row for row in run.changes.to_dict("records") if not row["error"]]
    resumed = {int(row["number"]): row["began_at_unix_s"] for row in rows if row["action"] == RESUME}
    return [
        Change(
            number=int(row["number"]),
            action=str(row["action"]),
            began_unix_s=float(row["began_at_unix_s"]),
            replica=str(row["replica"]),
            resumed_unix_s=float(resumed.get(int(row["number"]), NAN)),
        )
        for row in rows
        if row["action"] != RESUME
    ]


def end_of_load(run: Run) -> float:
    """When the last request of a run was due: after its run time, if that ended it."""
    end = run.window_unix_s[1]
    if run.record.ended_by == RUN_TIME and run.record.run_time_s is not None:
        return min(end, run.record.started_at_unix_s + run.record.run_time_s)
    return end


def spans(run: Run) -> list[Span]:
    """The span of each change that was made. Also a change that failed ends the span before it: it may have done
    something."""
    tried = run.changes[(run.changes["action"] != RESUME).to_numpy()]["began_at_unix_s"].to_numpy()
    measured = run.measured_requests.sort_values("started_at_unix_s", kind="stable")
    due = measured["started_at_unix_s"].to_numpy()
    over = due + measured["response_time_ms"].to_numpy() / 1000
    start, load_end = run.window_unix_s[0], end_of_load(run)
    found = []
    for change in changes_of(run):
        began = change.began_unix_s
        later, earlier = tried[tried > began], tried[tried < began]
        end = float(later.min(initial=load_end))
        is_last = not len(later)
        past = began - max(start, float(earlier.max(initial=start)))
        before_from = began - min(BEFORE_S, int(past))
        is_owned = (over >= began) & ((over < end) | is_last)
        is_due = (due >= began) & ((due < end) | is_last)
        is_before = (due >= before_from) & (over < began)
        before, owned, own_due = (measured[mask] for mask in (is_before, is_owned, is_due))
        found.append(Span(change, end, is_last, before, before_from, owned, own_due, {}))
    return [replace(span, unsent=own) for span, own in zip(found, _unsent(run, found), strict=True)]


def _unsent(run: Run, found: Sequence[Span]) -> list[dict[str, int]]:
    """How many arrivals without a row belong to each span. They have no time, so with several changes they are divided
    as the rows are that lack there at the rate of the run."""
    if run.record.open is None:
        return [dict.fromkeys(UNSENT.values(), 0) for _ in found]
    rate = next(iter(run.rates_per_s), 0.0)
    lacking = np.array([max(0.0, rate * span.length_s - len(span.due)) for span in found])
    counts = {name: divided(getattr(run.record.open, name), lacking) for name in UNSENT.values()}
    return [{name: own[place] for name, own in counts.items()} for place in range(len(found))]


def divided(total: int, weights: np.ndarray) -> list[int]:
    """A count in whole parts that are as the weights (largest remainders); all to the first if there are no weights."""
    if not weights.sum():
        return [total if place == 0 else 0 for place in range(len(weights))]
    exact = total * weights / weights.sum()
    parts = np.floor(exact).astype(int)
    most = np.argsort(parts - exact, kind="stable")[: total - int(parts.sum())]
    parts[most] += 1
    return [int(part) for part in parts]


def _recovery(run: Run, span: Span) -> Recovery:
    owned = span.owned
    errors = owned["error"][(owned["error"] != "").to_numpy()].astype(str).value_counts()
    is_down = _is_down(span)
    slowed, extra = _slowed(span)
    new = new_replicas(run, span)
    firsts = {replica: _first_answer(span, replica) for replica in new}
    kept, reached = _kept(span, firsts)
    times = {
        "errors_end_s": _errors_end(span),
        "silent_s": NEVER if is_down else Outcome(_silent_s(span)),
        "latency_back_s": _latency_back(span),
        "extra_s": extra,
        "first_answer_s": _first_of(run, span, firsts),
        "fair_share_s": _fair_share(run, span, firsts),
    }
    return Recovery(
        change=span.change,
        length_s=span.length_s,
        is_last=span.is_last,
        requests=len(owned) + sum(span.unsent.values()),
        errors={str(error): int(count) for error, count in errors.items()},
        unsent=span.unsent,
        retried=int(owned["retried"].sum()),
        slowed=slowed,
        new_replicas=len(new),
        kept=kept,
        reached=reached,
        is_down=is_down,
        latency_limit_ms=latency_limit_ms(span),
        times=times,
    )


def _errors_end(span: Span) -> Outcome:
    """From the change to the first request after which none fails; 0 if none failed."""
    failed = span.owned[(span.owned["error"] != "").to_numpy()]["started_at_unix_s"].to_numpy()
    if span.is_last and span.unsent["unanswered"]:
        return NEVER
    if not len(failed):
        return Outcome(0.0)
    last = failed[-1]
    after = span.due["started_at_unix_s"].to_numpy()
    after = after[after > last]
    if last >= span.end_unix_s - 1 or not len(after):
        return NEVER
    return Outcome(max(0.0, float(after[0]) - span.change.began_unix_s))


def _answers(span: Span) -> pd.DataFrame:
    return span.owned[(span.owned["error"] == "").to_numpy()]


def _over(requests: pd.DataFrame) -> np.ndarray:
    return (requests["started_at_unix_s"] + requests["response_time_ms"] / 1000).to_numpy()


def _is_down(span: Span) -> bool:
    """Whether nothing was answered in the last second of the span, in which requests still failed or got no answer."""
    over = _over(_answers(span))
    return _errors_end(span).is_never and not (over >= span.end_unix_s - 1).any()


def _silent_s(span: Span) -> float:
    """The longest time without any answer, from the change to the end of the span."""
    over = np.sort(_over(_answers(span)))
    edges = [span.change.began_unix_s, *over[over < span.end_unix_s], span.end_unix_s]
    return float(np.diff(edges).max())


def medians_per_second(requests: pd.DataFrame, from_unix_s: float, seconds: int) -> np.ndarray:
    """The median response time (ms) of the requests due in each whole second; one that failed is slower than all. NaN
    where there were too few."""
    place = np.floor(requests["started_at_unix_s"].to_numpy() - from_unix_s)
    times = np.where((requests["error"] == "").to_numpy(), requests["response_time_ms"].to_numpy(), np.inf)
    found = np.full(seconds, NAN)
    for second in range(seconds):
        own = np.sort(times[place == second])
        if len(own) >= FEWEST_IN_SECOND:
            found[second] = _median(own)
    return found


def _median(in_order: np.ndarray) -> float:
    """The median; np.median makes NaN of two that are infinite."""
    low, high = in_order[(len(in_order) - 1) // 2], in_order[len(in_order) // 2]
    return float(low if low == high else (low + high) / 2)


def latency_limit_ms(span: Span) -> float:
    """Up to which median a second is as those before the change; NaN if these are too few.

    The range of one more value of a normal distribution: mean + t s sqrt(1 + 1/n), of n values with the standard
    deviation s.
    """
    seconds = round(span.change.began_unix_s - span.before_from_unix_s)
    medians = medians_per_second(span.before, span.before_from_unix_s, seconds)
    told = medians[np.isfinite(medians)]
    if len(told) < FEWEST_SECONDS:
        return NAN
    n, mean = len(told), float(told.mean())
    arm = float(special.stdtrit(n - 1, RANGE) * told.std(ddof=1) * np.sqrt(1 + 1 / n))
    return max(SLOWER * mean, mean + arm)


def _latency_back(span: Span) -> Outcome:
    """From the change to the first second from which on the median is as before."""
    limit = latency_limit_ms(span)
    seconds = int(span.length_s)
    if np.isnan(limit):
        return Outcome(missing=FEW_BEFORE)
    if seconds < HOLD_S:
        return Outcome(missing=FEW_AFTER)
    is_back = medians_per_second(span.due, span.change.began_unix_s, seconds) <= limit
    for second in range(seconds - HOLD_S + 1):
        if is_back[second : second + HOLD_S].all() and is_back[second:].mean() >= HOLD_SHARE:
            return Outcome(float(second))
    return NEVER


def _slowed(span: Span) -> tuple[int, Outcome]:
    """How many requests took longer than nearly all before the change, and how much longer than the median before all
    of them took together."""
    before = span.before["response_time_ms"].to_numpy()[(span.before["error"] == "").to_numpy()]
    if len(before) < FEWEST_BEFORE:
        return 0, Outcome(missing=FEW_BEFORE)
    times = _answers(span)["response_time_ms"].to_numpy()
    if not len(times):
        return 0, Outcome(missing=NO_ANSWERS)
    slow = times[times > np.quantile(before, SLOWED)]
    return len(slow), Outcome(float((slow - np.median(before)).sum() / 1000))


@dataclass(frozen=True)
class NewReplica:
    """A replica that was started in a span. ``called``: the names by which its answers are known; ``own_id``: the one
    that no other replica bore, empty if there is none. From ``from_unix_s`` on an answer with one of the names is its
    own: before that, its predecessor bore the name."""

    called: frozenset[str]
    own_id: str
    from_unix_s: float


def new_replicas(run: Run, span: Span) -> list[NewReplica]:
    """The replicas that were started, or restarted, in a span."""
    began, end = span.change.began_unix_s, span.end_unix_s
    bearers: dict[str, str] = {}
    found: list[NewReplica] = []
    for event in run.events.to_dict("records"):
        name, id_, at, kind = event["replica"], event["replica_id"], event["at_unix_s"], event["event"]
        if kind in (STARTED, RESTARTED) and began <= at < end:
            predecessor = id_ if kind == RESTARTED else bearers.get(name)
            from_unix_s = began if predecessor is None else _ended(run, name, predecessor, (began, at))
            called = frozenset(said for said, known in run.replica_names.items() if known == name) | {name}
            found.append(NewReplica(called, "" if predecessor == id_ else id_, from_unix_s))
        if kind in (FOUND, STARTED):
            bearers[name] = id_
    return found


def _ended(run: Run, name: str, id_: str, between_unix_s: tuple[float, float]) -> float:
    """When the replica that bore a name before ended: after the first moment, which is that of the change; the second
    one, at which the new replica started, if it is not known."""
    events = run.events
    is_end = (events["event"] == ENDED) & (events["replica"] == name) & (events["replica_id"] == id_)
    ends = events["at_unix_s"][is_end.to_numpy()]
    later = ends[(ends >= between_unix_s[0]).to_numpy()]
    return float(later.iloc[0]) if len(later) else between_unix_s[1]


def _answers_of(span: Span, replica: NewReplica) -> np.ndarray:
    """Which of the answers of a span the new replica gave."""
    answers = _answers(span)
    is_named = answers["replica"].isin(replica.called).to_numpy()
    is_own = (answers["replica"] == replica.own_id).to_numpy() & bool(replica.own_id)
    return is_own | (is_named & (_over(answers) >= replica.from_unix_s))


def _first_answer(span: Span, replica: NewReplica) -> float:
    """When a new replica gave its first answer (Unix time); NaN: it gave none."""
    over = _over(_answers(span))[_answers_of(span, replica)]
    return float(over.min()) if len(over) else NAN


def _why_no_replicas(run: Run, span: Span, firsts: Mapping[NewReplica, float]) -> str:
    """Why nothing can be said of new replicas; empty if it can."""
    if run.events.empty:
        return NO_EVENTS
    if not firsts:
        return NO_NEW_REPLICA
    return NO_NAMES if (run.measured_requests["replica"] == "").all() else ""


def _first_of(run: Run, span: Span, firsts: Mapping[NewReplica, float]) -> Outcome:
    """From the change to the first answer of any new replica."""
    if why := _why_no_replicas(run, span, firsts):
        return Outcome(missing=why)
    told = [at for at in firsts.values() if not np.isnan(at)]
    return Outcome(min(told) - span.change.began_unix_s) if told else NEVER


def _fair_share(run: Run, span: Span, firsts: Mapping[NewReplica, float]) -> Outcome:
    """From the change to the end of the second by which all new replicas have had their fair share in a second."""
    if why := _why_no_replicas(run, span, firsts):
        return Outcome(missing=why)
    replicas = replicas_at(run, span.end_unix_s)
    if replicas < 2:
        return Outcome(missing=ALONE)
    second = np.floor(_over(_answers(span)) - span.change.began_unix_s).astype(int)
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


def replicas_at(run: Run, at_unix_s: float) -> int:
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


def _kept(span: Span, firsts: Mapping[NewReplica, float]) -> tuple[int, int]:
    """How many answers came over kept connections since a new replica answers (or started, if it gave none), and how
    many of these a new one gave."""
    if not firsts:
        return 0, 0
    told = [at for at in firsts.values() if not np.isnan(at)]
    since = min(told) if told else min(replica.from_unix_s for replica in firsts)
    answers = _answers(span)
    is_kept = (answers["connection_reused"] == 1).to_numpy() & (answers["started_at_unix_s"] >= since).to_numpy()
    is_new = np.any([_answers_of(span, replica) for replica in firsts], axis=0)
    return int(is_kept.sum()), int((is_kept & is_new).sum())
