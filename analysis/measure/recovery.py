"""What a planned change does to a load that goes on: one change in one run, from the rows of that run.

docs/changes.md defines each figure.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
from scipy import special

from analysis.measure.new_replicas import started_in
from analysis.measure.quantity import NAN
from analysis.measure.spans import CUT_OFF, NEVER, Change, Outcome, Span, spans
from analysis.read.runs import Run

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
"""The median is as before again if it is so for so many seconds in a row, and then up to the end of the span never
above for so many seconds in a row, ..."""
HOLD_SHARE = 0.8
"""... and as before in this share of all seconds from there on. Simulated loads without any change, with 20 s
before and after it, were wrongly called not as before to the end in 0.2% of the cases, even where the medians of single
seconds differed by 8% (standard deviation)."""
SLOWED = 0.99
"""A request is slowed if it took longer than this share of the requests before the change."""
FEWEST_BEFORE = 100
"""With fewer requests before the change it is not known which were slowed."""

TIMES = ("last_failed_s", "served_again_s", "silent_s", "latency_back_s", "extra_s", "first_answer_s", "fair_share_s")
"""The figures of a change that are times, by their keys."""

OUTAGE_S = 1.0
"""A time without any answer is an outage from here on, if none before the change was as long."""

FEW_BEFORE = "too few requests before the change to compare with"
NO_ANSWERS = "nothing was answered"
NO_TIME = "when the lost requests were due is not recorded"
FEW_AFTER = f"fewer than {HOLD_S} whole seconds after the change"


@dataclass(frozen=True, eq=False)
class Recovery:
    """What one change did in one run.

    ``requests``: all that belong to it, with or without a row, but for those that were cut off. ``errors``: how many
    failed, by the error. ``unsent`` as in ``Span``. ``retried``: sent again over a new connection, and answered.
    ``slowed``: see ``SLOWED``.
    ``new_replicas``: how many were started. ``kept``: requests over kept connections after the first answer of a new
    replica (or its start, if it gave none), ``reached``: how many of these a new replica answered. ``times``: an
    outcome for each of ``TIMES``. ``is_down``: at the end of the span nothing was answered. ``latency_limit_ms``: up
    to which median a second is as before; NaN: not known. ``before_s``: with how many seconds before it is compared;
    ``is_disturbed_before``: too few of these were as those before the first change.
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
    before_s: int
    is_disturbed_before: bool
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
    found = spans(run)
    return [_recovery(run, span, found[0]) for span in found]


def _recovery(run: Run, span: Span, first: Span) -> Recovery:
    owned = span.owned
    errors = owned["error"][(owned["error"] != "").to_numpy()].astype(str).value_counts()
    is_down = _is_down(span)
    slowed, extra = _slowed(span)
    started = started_in(run, span)
    times = {
        "last_failed_s": _last_failed(span),
        "served_again_s": _served_again(span),
        "silent_s": NEVER if is_down else Outcome(_silent_s(span)),
        "latency_back_s": _latency_back(span),
        "extra_s": extra,
        "first_answer_s": started.first_answer,
        "fair_share_s": started.fair_share,
    }
    return Recovery(
        change=span.change,
        length_s=span.length_s,
        is_last=span.is_last,
        requests=len(owned) + sum(span.unsent.values()) - span.unsent[CUT_OFF],
        errors={str(error): int(count) for error, count in errors.items()},
        unsent=span.unsent,
        retried=int(owned["retried"].sum()),
        slowed=slowed,
        new_replicas=started.count,
        kept=started.kept,
        reached=started.reached,
        is_down=is_down,
        before_s=_before_s(span),
        is_disturbed_before=span is not first and _is_disturbed_before(span, latency_limit_ms(first)),
        latency_limit_ms=latency_limit_ms(span),
        times=times,
    )


def _last_failed(span: Span) -> Outcome:
    """From the change to when the last request that failed was due; 0 if none failed. Requests without a row have no
    time; if some were unanswered when the run ended, and nothing else was answered either, it is never."""
    failed = span.owned[(span.owned["error"] != "").to_numpy()]["started_at_unix_s"].to_numpy()
    if span.is_last and span.unsent["unanswered"] and not _is_answering(span):
        return NEVER
    if not len(failed):
        is_untold = span.unsent["unanswered"] + span.unsent["over_bound"] > 0
        return Outcome(missing=NO_TIME) if is_untold else Outcome(0.0)
    last = float(failed[-1])
    is_later = (span.due["started_at_unix_s"] > last).any()
    if last >= span.end_unix_s - 1 or not is_later:
        return NEVER
    return Outcome(max(0.0, last - span.change.began_unix_s))


def _served_again(span: Span) -> Outcome:
    """From the change to the first answer after the last failed request was due, and after the outage; 0 if there was
    neither."""
    failed = _last_failed(span)
    if failed.is_never or failed.missing:
        return failed
    began = span.change.began_unix_s
    _, outage_end = _outage_unix_s(span)
    is_failed = (span.owned["error"] != "").to_numpy()
    if not is_failed.any() and np.isnan(outage_end):
        return Outcome(0.0)
    from_unix_s = max(began + failed.value, began if np.isnan(outage_end) else outage_end)
    later = span.answered_unix_s[span.answered_unix_s >= from_unix_s]
    return Outcome(float(later.min()) - began) if len(later) else NEVER


def _is_down(span: Span) -> bool:
    """Whether nothing was answered in the last second of the span, in which requests still failed or got no answer."""
    return _last_failed(span).is_never and not _is_answering(span)


def _is_answering(span: Span) -> bool:
    """Whether anything was answered in the last second of the span."""
    return bool((span.answered_unix_s >= span.end_unix_s - 1).any())


def _silent_s(span: Span) -> float:
    """The longest time without any answer, from the change to the end of the span."""
    from_unix_s, to_unix_s = _longest_silence(span.answered_unix_s, span.change.began_unix_s, span.end_unix_s)
    return to_unix_s - from_unix_s


def _longest_silence(answered_unix_s: np.ndarray, from_unix_s: float, to_unix_s: float) -> tuple[float, float]:
    """The longest time without any answer between two moments."""
    is_within = (answered_unix_s >= from_unix_s) & (answered_unix_s < to_unix_s)
    edges = np.array([from_unix_s, *np.sort(answered_unix_s[is_within]), to_unix_s])
    place = int(np.diff(edges).argmax())
    return float(edges[place]), float(edges[place + 1])


def _outage_unix_s(span: Span) -> tuple[float, float]:
    """The longest time without any answer, if it is an outage: at least ``OUTAGE_S``, and longer than any before the
    change; else NaN."""
    began = span.change.began_unix_s
    found = _longest_silence(span.answered_unix_s, began, span.end_unix_s)
    answers = span.before[(span.before["error"] == "").to_numpy()]
    over = (answers["started_at_unix_s"] + answers["response_time_ms"] / 1000).to_numpy()
    before = _longest_silence(over, span.before_from_unix_s, began)
    is_outage = found[1] - found[0] >= max(OUTAGE_S, before[1] - before[0])
    return found if is_outage else (NAN, NAN)


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
    medians = medians_per_second(span.before, span.before_from_unix_s, _before_s(span))
    told = medians[np.isfinite(medians)]
    if len(told) < FEWEST_SECONDS:
        return NAN
    n, mean = len(told), float(told.mean())
    arm = float(special.stdtrit(n - 1, RANGE) * told.std(ddof=1) * np.sqrt(1 + 1 / n))
    return max(SLOWER * mean, mean + arm)


def _before_s(span: Span) -> int:
    return round(span.change.began_unix_s - span.before_from_unix_s)


def _is_disturbed_before(span: Span, first_limit_ms: float) -> bool:
    """Whether the seconds before a change were not as those before the first one; a second in which too few requests
    were over is not."""
    medians = medians_per_second(span.before, span.before_from_unix_s, _before_s(span))
    if np.isnan(first_limit_ms) or not len(medians):
        return False
    return bool((medians <= first_limit_ms).mean() < HOLD_SHARE)


def _latency_back(span: Span) -> Outcome:
    """From the change to the first second from which on the median is as before, and not before an outage is over."""
    limit = latency_limit_ms(span)
    seconds = int(span.length_s)
    if np.isnan(limit):
        return Outcome(missing=FEW_BEFORE)
    if seconds < HOLD_S:
        return Outcome(missing=FEW_AFTER)
    is_back = medians_per_second(span.due, span.change.began_unix_s, seconds) <= limit
    for second in range(seconds - HOLD_S + 1):
        left = is_back[second:]
        if left[:HOLD_S].all() and left.mean() >= HOLD_SHARE and _longest_run(~left) < HOLD_S:
            _, outage_end = _outage_unix_s(span)
            is_over = outage_end < span.end_unix_s
            return Outcome(max(float(second), outage_end - span.change.began_unix_s) if is_over else float(second))
    return NEVER


def _longest_run(values: np.ndarray) -> int:
    """How many values in a row are true, at most."""
    return max((len(list(own)) for value, own in itertools.groupby(values) if value), default=0)


def _slowed(span: Span) -> tuple[int, Outcome]:
    """How many requests took longer than nearly all before the change, and how much longer than the median before all
    of them took together."""
    before = span.before["response_time_ms"].to_numpy()[(span.before["error"] == "").to_numpy()]
    if len(before) < FEWEST_BEFORE:
        return 0, Outcome(missing=FEW_BEFORE)
    times = span.answers["response_time_ms"].to_numpy()
    if not len(times):
        return 0, Outcome(missing=NO_ANSWERS)
    slow = times[times > np.quantile(before, SLOWED)]
    return len(slow), Outcome(float((slow - np.median(before)).sum() / 1000))
