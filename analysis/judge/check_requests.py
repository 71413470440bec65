"""Whether a run's rows of requests are complete, and agree with its record, its texts and its times."""

from __future__ import annotations

import numpy as np
import pandas as pd

from analysis.judge.doubts import LONGEST_QUOTE, Reasons
from analysis.read.runs import Run
from runfiles.events import ALL_BLOCKS, ALL_TEXTS, ENOUGH_REQUESTS, INCOMPLETE, ROWS_LOST, RUN_TIME, UNSAMPLED, WARM_UP

ERRORS = "errors"
"""The kind of reason that ``failed_requests`` gives."""
ERROR_LIMIT = 0.01
RETRY_LIMIT = 0.01
TEXTS_NAMED = 3
"""So many of the texts that failed are named."""
SERIOUS_FAULTS = (ROWS_LOST, INCOMPLETE, UNSAMPLED)
"""Those of ``runfiles.events.FAULTS`` that make a run invalid. Each is also the kind of the reason."""
FIRST_PASS = 1
"""The number of the single pass's block whose metrics file is handed in; the others repeat it."""
WHOLE_ENDS = (RUN_TIME, ENOUGH_REQUESTS, ALL_TEXTS, ALL_BLOCKS)
"""A run that ended in any other way is not what the plan asked for."""
CLOCK_SLACK_S = 1.0
"""A request may seem to be sent this long before its run began or after it ended."""
PHASE_SLACK_S = 0.1
"""The phase of a row may contradict its time by this much."""
LEAST_WARM_UP_S = 1.0
"""A shorter warm-up may have no request, because users take a moment to start."""
PART_SLACK_MS = 1.0
"""The time in the service may exceed the response time by this much, because two clocks measure them."""


def request_doubts(run: Run) -> Reasons:
    """What speaks against a run in its requests, but for failed ones (``error_doubts``)."""
    measured = run.measured_requests
    found = _of_record(run)
    if twice := _rows_there_twice(run.requests):
        found.append((f"{twice:,} rows of requests repeat another row in all columns", "copy"))
    retried = int(measured["retried"].sum())
    if retried > RETRY_LIMIT * len(measured):
        text = f"{retried:,} of {len(measured):,} requests were sent again, as the service had closed their connection"
        found.append((text, ""))
    return found + _of_texts(run) + _of_parts(run) + _of_clock(run)


def error_doubts(run: Run) -> Reasons:
    """Whether too many requests failed."""
    failed, measured = _errors(run), run.measured_requests
    if not len(measured) or len(failed) / len(measured) <= ERROR_LIMIT:
        return []
    text = f"{len(failed):,} of {len(measured):,} requests failed (the first: {first_error(run)})"
    return [(f"{text}{_which_texts(run)}", ERRORS)]


def first_error(run: Run) -> str:
    """Why the first measured request that failed did so; empty if none did."""
    return next(iter(_errors(run)), "")[:LONGEST_QUOTE]


def _errors(run: Run) -> pd.Series:
    return run.measured_requests["error"][(run.measured_requests["error"] != "").to_numpy()]


def _which_texts(run: Run) -> str:
    """The first texts of which a request failed; nothing if the record does not tell."""
    told = "; ".join(map(str, run.record.failed_texts[:TEXTS_NAMED]))
    return f". The first texts that failed: {told}" if told else ""


def _of_record(run: Run) -> Reasons:
    """What a run's record says against it, and whether the rows are those that the record counts."""
    found: Reasons = []
    if run.record.ended_by not in WHOLE_ENDS:
        found.append(("the run was cut off before its end", "cut off"))
    for fault in run.record.faults:
        kind = fault.kind if fault.kind in SERIOUS_FAULTS else ""
        found.append((fault.text[:LONGEST_QUOTE], kind))
    if run.record.ended_at_unix_s is not None and run.rows_lost:
        text = f"{run.record.requests:,} requests were recorded, but only {len(run.requests):,} rows can be read; "
        found.append((f"{text}the figures come from these rows", ROWS_LOST))
    said = run.record.requests
    if said is not None and len(run.requests) > said:
        text = f"{said:,} requests were recorded, but there are {len(run.requests):,} rows; some belong to another run"
        found.append((text, ROWS_LOST))
    for name in run.absent:
        found.append((f"{name} is missing, though replicas were sampled; put it back or measure again", "unreadable"))
    told = run.record.failures
    if run.record.ended_at_unix_s is not None and told is not None and not run.rows_lost:
        failed_rows = len(run.requests) - len(run.answered_unix_s)
        if failed_rows != told:
            text = f"{told:,} failed requests were recorded, but {failed_rows:,} rows show a failure"
            found.append((text, "contradiction"))
    return found


def _rows_there_twice(requests: pd.DataFrame) -> int:
    """How many rows equal another in all columns. Only rows that were sent at the same moment are compared: few."""
    at = requests["started_at_unix_s"].to_numpy()
    is_next = at[1:] == at[:-1]
    if (at[1:] < at[:-1]).any():  # in blocks that are laid end to end
        at_once = requests["started_at_unix_s"].duplicated(keep=False).to_numpy()
    else:
        at_once = np.zeros(len(at), dtype=bool)
        at_once[1:] |= is_next
        at_once[:-1] |= is_next
    return int(requests[at_once].duplicated().sum())


def _of_texts(run: Run) -> Reasons:
    """Whether each request sent one of the texts."""
    count, told = run.record.texts.count, run.requests["text_id"].dropna()
    unknown = told[(told < 1) | (told > count) | (told % 1 != 0)] if count is not None else told[:0]
    if unknown.empty:
        return []
    return [
        (
            f"{len(unknown):,} requests sent a text that is not one of the {count:,}: number {unknown.iloc[0]:g}",
            "contradiction",
        )
    ]


def _of_parts(run: Run) -> Reasons:
    """Whether the time in the service is part of the response time."""
    found: Reasons = []
    answered = run.answered
    inside_ms = answered["queue_ms"].fillna(0)
    inside_ms += answered["inference_ms"].fillna(0)
    longer = int((inside_ms > answered["response_time_ms"] + PART_SLACK_MS).sum())
    if longer:
        text = f"{longer:,} answers report more time in the service than the whole response took"
        found.append((text, "contradiction" if longer > ERROR_LIMIT * len(answered) else ""))
    return found


def _of_clock(run: Run) -> Reasons:
    """Whether the times of the requests fit the run and its phases."""
    sent = run.requests["started_at_unix_s"]
    if sent.empty:
        return []
    began, ended = run.record.started_at_unix_s, run.record.ended_at_unix_s
    found: Reasons = []
    early, late = began - sent.iloc[0], sent.iloc[-1] - (ended or sent.iloc[-1])
    if max(early, late) > CLOCK_SLACK_S:
        when = f"{early:.1f} s before the run began" if early > late else f"{late:.1f} s after the run ended"
        found.append((f"a request was sent {when}, so its time is from another clock", "clock"))
    start, _ = run.window_unix_s
    warm_up = sent[(run.requests["phase"] == WARM_UP).to_numpy()]
    measured = run.measured_requests["started_at_unix_s"]
    is_in_blocks = (
        run.record.blocks is not None or len(run.blocks) > 0
    )  # whether each block has its own requests is asked in check_blocks
    if not is_in_blocks and ((measured < start - PHASE_SLACK_S).any() or (warm_up > start + PHASE_SLACK_S).any()):
        wrong = (
            ((measured < start).sum(), "of the warm-up are", "measured"),
            ((warm_up >= start).sum(), "sent after the warm-up are", "warm-up"),
        )
        text = "; ".join(f"{count:,} requests {which} marked {phase}" for count, which, phase in wrong if count)
        found.append((f"{text}, so their times are from another clock", "clock"))
    elif warm_up.empty and run.record.warm_up_s >= LEAST_WARM_UP_S and not found:
        text = f"no request was sent in the warm-up of {run.record.warm_up_s:g} s, so the measured phase began cold"
        found.append((text, "clock"))
    return found


def single_pass_doubts(run: Run) -> Reasons:
    """Whether each text was sent once; where the pass was repeated: in the first one, and all in each other."""
    count = run.record.texts.count
    sent = run.requests if run.blocks.empty else run.requests[(run.requests["block"] == FIRST_PASS).to_numpy()]
    rows, told = len(sent), sent["text_id"].dropna()
    if run.rows_lost:
        return []
    if count is None:
        return [
            ("the record does not say how many texts there are, so it is not known whether all were sent", INCOMPLETE)
        ]
    if len(told) < rows:
        return [(f"{rows - len(told):,} requests of the single pass do not say which text they sent", INCOMPLETE)]
    texts = told.nunique()
    found: Reasons = []
    if texts < count:
        found.append((f"the single pass sent {texts:,} of {count:,} texts", INCOMPLETE))
    if rows > texts:
        found.append(
            (
                f"the single pass sent {rows - texts:,} text{'s' if rows - texts > 1 else ''} more than once",
                INCOMPLETE,
            )
        )
    if texts > count:
        found.append((f"the single pass sent {texts:,} texts, but there are only {count:,}", INCOMPLETE))
    passes = run.requests["block"].value_counts()
    if (passes != count).any() and not found:
        wrong = int((passes != count).sum())
        found.append((f"{wrong:,} of the repeated passes did not send each of {count:,} texts once", ""))
    return found
