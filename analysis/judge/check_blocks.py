"""Whether the blocks of a load are those that its record and its rows tell of, and were undisturbed."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from analysis.judge.check_load import way_of
from analysis.judge.doubts import Doubt, Reasons
from analysis.measure.ratios import times_by_cycle
from analysis.measure.steps import is_overloaded
from analysis.measure.trend import steady_change
from analysis.read.results import Results
from analysis.read.runs import Run
from runfiles.events import ALL_BLOCKS, DISTURBED, MEASURED, WARM_UP

CLOCK_SLACK_S = 1.0
"""A block may seem to begin this long before its run, or to end after it."""
PHASE_SLACK_S = 0.1
"""A request may be marked by the phase of its block though it was sent this long before or after the measured part."""
EDGE_SHARE = 0.1
"""What lies between the edges of the blocks and the samples next to them may be this share of the blocks: what was used
in it is not known."""


def block_doubts(run: Run, *, is_search: bool = False) -> Reasons:
    """What speaks against a run in its blocks; nothing if its load came in one piece. A search for the capacity has as
    many blocks as it needs."""
    if run.axis is None:
        return []
    recorded = run.as_recorded
    if recorded.blocks.empty:
        is_whole = run.record.ended_at_unix_s is not None
        return [("the load came in blocks, but no block can be read", "unreadable")] if is_whole else []
    found = _of_times(recorded) + ([] if is_search else _of_number(recorded))
    return found + _of_rows(recorded) + _of_others(recorded) + _of_edges(recorded)


def trend_doubts(results: Results) -> list[Doubt]:
    """Whether response times of a deployment rose or fell against those of each other in its group.

    If all of them rose, the machine got slower. The ratios do not show that, as they are taken within a cycle. In a
    staircase each cycle has a higher rate, so response times rise as they should.
    """
    if results.has_several_rates:
        return []
    found = []
    for (number, _), members in results.side_by_side.items():
        logs = _medians([run for _, run in members])
        for place, (deployment, _) in enumerate(members) if len(logs) else ():
            changes = [steady_change(logs[:, place] - other) for other in np.delete(logs, place, axis=1).T]
            steady = [change for change in changes if change is not None]
            if steady and len(steady) == len(changes):
                change = min(steady, key=abs)
                text = f"{deployment.title}, load of round {number}: response times {way_of(change)} by "
                text += f"{abs(change):.0%} against those of each other in its group, so its service was not warm; "
                text += "use a longer warm-up (--set warm_up_s=20)"
                found.append(Doubt(text, "trend", (deployment.name,)))
    return found


def _medians(runs: Sequence[Run]) -> np.ndarray:
    """The logarithm of the median of each run (columns) in each cycle that all of them have (rows)."""
    cycles = [times_by_cycle(run) for run in runs]
    common = sorted(set.intersection(*map(set, cycles)))
    medians = np.array([[np.median(own[cycle]) for own in cycles] for cycle in common])
    return np.log(medians) if len(medians) and medians.min() > 0 else np.empty((0, len(runs)))


def _of_times(run: Run) -> Reasons:
    """Whether the blocks are of the run's time."""
    began, ended = run.record.started_at_unix_s, run.record.ended_at_unix_s
    first, last = run.blocks["began_at_unix_s"].min(), run.blocks["ended_at_unix_s"].max()
    if began - first > CLOCK_SLACK_S or (ended is not None and last - ended > CLOCK_SLACK_S):
        return [("a block lies outside the time of the run, so its time is from another clock", "clock")]
    return []


def _of_number(run: Run) -> Reasons:
    """Whether as many blocks were measured as the record says. A deployment that is overloaded at a rate of a staircase
    gets no higher one."""
    blocks = run.record.blocks
    measured = int((run.blocks["phase"] == MEASURED).sum())
    if blocks is None or run.record.ended_by != ALL_BLOCKS or measured == blocks.planned:
        return []
    if measured < blocks.planned and _was_overloaded(run.blocks[(run.blocks["phase"] == MEASURED).to_numpy()]):
        return []
    return [(f"{measured:,} blocks were measured, not {blocks.planned:,}", "cut off")]


def _was_overloaded(measured: pd.DataFrame) -> bool:
    """Whether the last of some blocks was one after which the load generator begins no higher rate."""
    if measured.empty or pd.isna(measured["rate_per_s"].iloc[-1]):
        return False
    return is_overloaded(measured.iloc[-1])


def _of_rows(run: Run) -> Reasons:
    """Whether each request that is marked with the phase of a block was sent in the measured part of such a block."""
    marked = run.requests[run.requests["phase"].isin((WARM_UP, MEASURED, DISTURBED)).to_numpy()]
    blocks = run.blocks.set_index("block")
    is_known = marked["block"].isin(blocks.index).to_numpy()
    found: Reasons = []
    if not is_known.all() and run.record.ended_at_unix_s is not None:
        text = f"{np.count_nonzero(~is_known):,} requests are of no block that the file of blocks has"
        found.append((text, "contradiction"))
    known = marked[is_known]
    own = blocks.loc[known["block"]]
    sent = known["started_at_unix_s"].to_numpy()
    is_early = sent < own["measured_from_unix_s"].to_numpy() - PHASE_SLACK_S
    is_late = sent > own["measured_to_unix_s"].to_numpy() + PHASE_SLACK_S
    if wrong := np.count_nonzero(is_early | is_late):
        text = f"{wrong:,} requests were sent outside the measured part of their block, "
        found.append((f"{text}so their times are from another clock", "clock"))
    is_other = known["phase"].astype(str).to_numpy() != own["phase"].astype(str).to_numpy()
    if other := np.count_nonzero(is_other):
        found.append((f"{other:,} requests are marked with another phase than their block", "contradiction"))
    return found


def _of_others(run: Run) -> Reasons:
    """Whether blocks count although other programs disturbed them."""
    blocks = run.record.blocks
    if blocks is None or not blocks.disturbed:
        return []
    measured = run.blocks["others_cpu_percent"][(run.blocks["phase"] == MEASURED).to_numpy()]
    most = measured.max()
    spent = "" if pd.isna(most) else f", up to {most:.0f}% of a core"
    text = f"other programs or the hypervisor took CPU in {blocks.disturbed:,} of {len(measured):,} blocks{spent}; "
    if blocks.repeated:
        text += f"{blocks.repeated:,} block{'s were' if blocks.repeated != 1 else ' was'} repeated before; "
    return [(f"{text}close what is not needed", "")]


def _of_edges(run: Run) -> Reasons:
    """Whether the replicas were sampled at the edges of the blocks."""
    found: Reasons = []
    measured = run.blocks[(run.blocks["phase"] == MEASURED).to_numpy()]
    begins, ends = (measured[name].to_numpy() for name in ("measured_from_unix_s", "measured_to_unix_s"))
    is_apart = begins[1:] - ends[:-1] > PHASE_SLACK_S
    edges = np.concatenate([begins[:1], begins[1:][is_apart], ends[:-1][is_apart], ends[-1:]])
    for name, own in run.samples.groupby("replica", observed=True) if len(begins) else ():
        at = np.concatenate([[-np.inf], own["sampled_at_unix_s"].to_numpy(), [np.inf]])
        after = np.searchsorted(at, edges)
        apart_s = np.minimum(at[after] - edges, edges - at[after - 1])
        if apart_s.sum() > EDGE_SHARE * (ends - begins).sum():
            text = f"{name} was sampled up to {apart_s.max():.2f} s from the edges of the blocks, so its CPU and "
            found.append((f"{text}network may include some of the time in between", ""))
    return found
