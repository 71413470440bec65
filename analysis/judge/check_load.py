"""Whether a load was steady, and whether the load generator or other programs disturbed it."""

from __future__ import annotations

import math

import numpy as np

from analysis.judge.doubts import Reasons
from analysis.measure.series import throughput_per_second
from analysis.read.runs import Run
from runfiles.events import INCOMPLETE, RUN_TIME

GENERATOR_LIMIT_PERCENT = 90
OTHERS_LIMIT_PERCENT = 30
"""CPU that neither load generator nor service used. It includes Docker's proxy and the kernel's network work."""
UNSTEADY = 0.25
"""A run is not steady if the answers in each second have a standard deviation above this share of their mean."""
TREND_PARTS = 10
TREND_LIMIT = 0.1
TREND_ALPHA = 0.001
"""A run has a trend if the medians of its tenths rise or fall by more than 10% from first to last (Theil and Sen's
slope), and so steadily (Kendall's tau) that noise alone does so in one run of 1,000."""
RUN_TIME_SLACK_S = 2.0
"""A run may be this much shorter than its run time."""


def generator_doubts(run: Run) -> Reasons:
    """Whether the load generator had the CPU that it needed."""
    generator = run.record.generator
    percent = generator.cpu_percent
    if not generator.cpu_warnings and (percent or 0) <= GENERATOR_LIMIT_PERCENT:
        return []
    spent = f"{percent:.0f}% of a core" if percent is not None else "most of a core"
    return [
        (
            f"the load generator was short of CPU ({spent}), so response times and throughput "
            "show its limit, not that of the service; "
            "measure with fewer users or on a machine with more cores",
            "generator",
        )
    ]


def load_doubts(run: Run) -> Reasons:
    """Whether a load ran as long as it should, was steady, and had the machine to itself."""
    found: Reasons = []
    if run.measured_requests.empty:
        found.append(("no request was measured", INCOMPLETE))
    ended, asked_s = run.record.ended_at_unix_s, run.record.run_time_s
    if run.record.ended_by == RUN_TIME and asked_s is not None and ended is not None:
        took_s = ended - run.record.started_at_unix_s
        if took_s < asked_s - RUN_TIME_SLACK_S:
            found.append((f"the run took {took_s:.0f} s, not {asked_s:g} s", "cut off"))
    seconds = throughput_per_second(run)
    if len(seconds) > 1 and seconds.std() > UNSTEADY * seconds.mean():
        text = f"throughput was not steady: {seconds.min():,} to {seconds.max():,} answers a second, "
        found.append((f"{text}so the mean says little about this run", ""))
    found += _of_trend(run)
    others = _cpu_of_others(run) if run.axis is None else None  # blocks tell it themselves
    if others is not None and others > OTHERS_LIMIT_PERCENT:
        text = f"other programs and the system took {others:.0f}% of a core during the run; close what is not needed"
        found.append((text, ""))
    return found


def _of_trend(run: Run) -> Reasons:
    """Whether response times rose or fell within the run."""
    change = trend(run)
    if change is None:
        return []
    way = "rose" if change > 0 else "fell"
    text = f"response times {way} by {abs(change):.0%} from the first to the last tenth of the run, so the service was "
    return [(f"{text}not warm or the machine slowed down; use a longer warm-up (--set warm_up_s=20)", "trend")]


def trend(run: Run) -> float | None:
    """The share by which response times rose (or fell: negative) within the run; None without a trend."""
    answered = run.answered
    start, end = run.window_unix_s
    if len(answered) < TREND_PARTS * 20 or end <= start:
        return None
    place = ((answered["started_at_unix_s"].to_numpy() - start) / (end - start) * TREND_PARTS).astype(int)
    place = place.clip(0, TREND_PARTS - 1)
    times = answered["response_time_ms"].to_numpy()
    parts = [times[place == number] for number in range(TREND_PARTS)]
    if min(len(part) for part in parts) < 10:
        return None
    medians = np.array([np.median(part) for part in parts])
    if medians.min() <= 0:
        return None
    early, late = np.triu_indices(TREND_PARTS, 1)
    slope = np.median((np.log(medians[late]) - np.log(medians[early])) / (late - early))  # Theil and Sen
    if abs(slope) * (TREND_PARTS - 1) <= math.log1p(TREND_LIMIT):
        return None
    # Imported here: a third of a second, which only a slope is worth.
    from scipy.stats import kendalltau  # noqa: PLC0415

    is_trend = kendalltau(np.arange(TREND_PARTS), medians).pvalue < TREND_ALPHA
    return math.expm1(slope * (TREND_PARTS - 1)) if is_trend else None


def _cpu_of_others(run: Run) -> float | None:
    """CPU percent of this machine over the whole run, less that of the load generator and of the sampled replicas; None
    if the service ran elsewhere or a part was not recorded."""
    machine = run.record.machine.cpu_percent
    generator = run.record.generator.cpu_percent_all
    if not run.is_local or machine is None or generator is None or run.samples.empty:
        return None
    grouped = run.samples.sort_values("read_at_unix_s").groupby("replica_id", observed=True)
    used = grouped["cpu_seconds"].last() - grouped["cpu_seconds"].first()
    elapsed = grouped["read_at_unix_s"].last() - grouped["read_at_unix_s"].first()
    if not (elapsed > 1).all():
        return None
    return float(machine - generator - (used / elapsed * 100).sum())
