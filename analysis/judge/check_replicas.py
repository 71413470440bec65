"""Whether all replicas of a run were there, and were sampled, from beginning to end."""

from __future__ import annotations

import numpy as np
import pandas as pd

from analysis.judge.doubts import Reasons
from analysis.measure.resources import why_no_samples
from analysis.measure.series import coverage
from analysis.read.runs import Run
from runfiles.events import ENDED, NOT_SAMPLED, RESTARTED, UNSAMPLED

GAP_LIMIT_S = 5.0
GAP_DOUBT_SHARE = 0.05
"""A gap longer than this share of the measured phase is a caveat, if it is longer than a second."""
LOSSES = {ENDED: "restart", RESTARTED: "restart", NOT_SAMPLED: UNSAMPLED}
"""Events that make a run invalid -> the kind of reason."""
COLUMNS_TOLD = {
    "cpu_seconds": "CPU time",
    "memory_bytes": "memory",
    "net_rx_bytes": "network traffic in",
    "net_tx_bytes": "network traffic out",
}
"""Columns of samples -> what they measure. A column that is empty throughout is not supported there: no reason."""
BEYOND = 0.1
"""A sample may exceed the limit of memory or CPU by this share, because the two are read at different moments."""
CPU_SLACK_S = 0.2
PART_ONLY = "for part of the run only"


def replica_doubts(run: Run) -> Reasons:
    """Whether each replica was there, and was sampled, throughout."""
    found = _of_losses(run) + _of_unsampled(run) + _of_samples(run)
    texts = [*run.record.replicas.problems, why_no_samples(run)]
    return found + [(text, "") for text in dict.fromkeys(texts) if text]


def limit_doubts(run: Run) -> Reasons:
    """Whether the samples show more memory or CPU than there is."""
    found: Reasons = []
    limited = run.samples["memory_limit_bytes"]
    if (run.samples["memory_bytes"] > limited * (1 + BEYOND)).any():
        found.append(("a sample shows a replica that holds more memory than its limit", "contradiction"))
    cores = run.record.machine.cpu_count
    for name, own in run.samples.groupby("replica", observed=True) if run.is_local and cores else ():
        used = own["cpu_seconds"].iloc[-1] - own["cpu_seconds"].iloc[0]
        elapsed = own["read_at_unix_s"].iloc[-1] - own["read_at_unix_s"].iloc[0]
        if used > cores * elapsed * (1 + BEYOND) + CPU_SLACK_S:
            text = f"the samples of {name} show {used:,.1f} s of CPU in {elapsed:,.1f} s, "
            found.append((f"{text}more than {cores:g} CPUs can give", "contradiction"))
    return found


def _of_losses(run: Run) -> Reasons:
    """Replicas that were replaced, ended or restarted, by their samples' IDs and by the events."""
    found: Reasons = []
    _, end = run.window_unix_s
    for name, ids in run.samples.groupby("replica", observed=True)["replica_id"].unique().items():
        if len(ids) > 1:
            found.append((f"{name} was replaced while it was measured: {len(ids)} containers had that name", "restart"))
    for event in run.events.to_dict("records"):
        if event["event"] not in LOSSES or event["at_unix_s"] >= end:
            continue
        after_s = event["at_unix_s"] - run.record.started_at_unix_s
        why = f" ({event['detail']})" if event["detail"] else ""
        text = f"{event['replica']}: {event['event']}, {after_s:.0f} s after the start{why}"
        found.append((text, LOSSES[event["event"]]))
    return found


def _of_unsampled(run: Run) -> Reasons:
    """Replicas that answered, and were not sampled."""
    sampled = set(run.samples["replica"].unique())
    said = set(run.measured_requests["replica"].unique()) - {""}
    unknown = sorted(name for name in said if run.replica_names.get(name, name) not in sampled)
    if not sampled or not unknown:
        return []
    text = f"{', '.join(unknown)} answered but was not sampled, so CPU, memory and network lack its part"
    return [(text, UNSAMPLED)]


def _of_samples(run: Run) -> Reasons:
    """Whether the samples of each replica cover the measured phase without gaps."""
    found: Reasons = []
    start, end = run.window_unix_s
    doubt_s = min(GAP_LIMIT_S, max(1.0, GAP_DOUBT_SHARE * (end - start)))
    for replica, samples in run.samples.groupby("replica", observed=True):
        name = str(replica)
        at = samples["sampled_at_unix_s"].to_numpy()
        gap = float(np.diff(at).max(initial=0.0))
        if gap > doubt_s:
            found.append((f"no sample of {name} for {gap:.1f} s", "gap" if gap > GAP_LIMIT_S else ""))
        if any((own["cpu_seconds"].diff() < 0).any() for _, own in samples.groupby("replica_id", observed=True)):
            found.append((f"{name} was restarted while it was measured", "restart"))
        absent = max(at[0] - start, end - at[-1])
        covered = coverage(run)[name]
        if absent > doubt_s or not covered.is_whole:
            text = f"{name} was sampled {PART_ONLY}: {covered}"
            found.append((text, "gap" if absent > GAP_LIMIT_S else ""))
        found += _of_columns(name, samples, (start, end), doubt_s)
        held = samples["throttled_seconds"].dropna()
        if len(held) and held.iloc[-1] > held.iloc[0]:
            found.append((f"the CPU limit held {name} back for {held.iloc[-1] - held.iloc[0]:.1f} s", ""))
    return found


def _of_columns(name: str, samples: pd.DataFrame, window_unix_s: tuple[float, float], doubt_s: float) -> Reasons:
    """Whether each column of a replica's samples, if it has values at all, has them throughout."""
    found: Reasons = []
    at = samples["sampled_at_unix_s"].to_numpy()
    start, end = max(window_unix_s[0], at[0]), min(window_unix_s[1], at[-1])
    for column, what in COLUMNS_TOLD.items():
        told = at[samples[column].notna().to_numpy()]
        if not 0 < len(told) < len(at):
            continue
        absent = max(told[0] - start, end - told[-1], np.diff(told).max(initial=0.0))
        if absent > doubt_s:
            text = f"{what} of {name} was recorded {PART_ONLY}: not for {absent:.1f} s"
            found.append((text, "gap" if absent > GAP_LIMIT_S else ""))
    return found
