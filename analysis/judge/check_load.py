"""Whether a load was steady, and whether the load generator or other programs disturbed it."""

from __future__ import annotations

import math

import numpy as np

from analysis.judge.doubts import Said
from analysis.measure.series import throughput_per_second
from analysis.read.results import Run
from runfiles.events import RUN_TIME

GENERATOR_LIMIT_PERCENT = 90
OTHERS_LIMIT_PERCENT = 30
"""CPU that neither load generator nor service used; Docker's proxy and the kernel's network work are part of it."""
UNSTEADY = 0.25
"""Standard deviation of the answers in each second over their mean, above which a run was not one steady state."""
TREND_PARTS = 10
TREND_LIMIT = 0.1
TREND_ALPHA = 0.001
"""A run has a trend where the medians of its tenths rise or fall by more than 10% from first to last (Theil and Sen's
slope), and so steadily (Kendall's tau) that noise does it once in 1,000 runs."""
RUN_TIME_SLACK_S = 2.0
"""By so much may a run be shorter than its run time."""


def generator_doubts(run: Run) -> Said:
    """Whether the load generator had the CPU that it needed."""
    generator = run.record["generator"]
    percent = generator.get("cpu_percent")
    if not generator["cpu_warnings"] and (percent or 0) <= GENERATOR_LIMIT_PERCENT:
        return []
    spent = f"{percent:.0f}% of a core" if percent is not None else "most of a core"
    return [
        (
            f"the load generator was short of CPU ({spent}), so latency and throughput show its own limit; measure "
            "with fewer users or on a machine with more cores",
            "generator",
        )
    ]


def load_doubts(run: Run) -> Said:
    """Whether a load ran as long as it should, was steady, and had the machine to itself."""
    found: Said = []
    if run.measured_requests.empty:
        found.append(("no request was measured", "incomplete"))
    ended, asked_s = run.record.get("ended_at_unix_s"), run.record.get("run_time_s")
    if run.record.get("ended_by") == RUN_TIME and asked_s is not None and ended is not None:
        took_s = ended - run.record["started_at_unix_s"]
        if took_s < asked_s - RUN_TIME_SLACK_S:
            found.append((f"the run took {took_s:.0f} s, not {asked_s:g} s", "cut off"))
    seconds = throughput_per_second(run)
    if len(seconds) > 1 and seconds.std() > UNSTEADY * seconds.mean():
        text = f"throughput was not steady: {seconds.min():,} to {seconds.max():,} answers a second, "
        found.append((f"{text}so the mean says little about this run", ""))
    change = trend(run)
    if change is not None:
        way = "rose" if change > 0 else "fell"
        text = f"response times {way} by {abs(change):.0%} from the first to the last tenth of the run, so "
        text += (
            "the service was not warm or the machine slowed down; measure with a longer warm-up (--set warm_up_s=20)"
        )
        found.append((text, "trend"))
    others = _cpu_of_others(run)
    if others is not None and others > OTHERS_LIMIT_PERCENT:
        found.append(
            (f"other programs and the system took {others:.0f}% of a core during the run; close what is not needed", "")
        )
    return found


def trend(run: Run) -> float | None:
    """By which part response times rose (or fell: negative) within the run; None where there is no trend."""
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
    """CPU percent of this machine that went neither to the load generator nor to the sampled replicas, over the whole
    run; None where the service ran elsewhere or something of it was not recorded."""
    machine = (run.record.get("machine") or {}).get("cpu_percent")
    generator = run.record["generator"].get("cpu_percent_all", run.record["generator"].get("cpu_percent"))
    if not run.is_local or machine is None or generator is None or run.samples.empty:
        return None
    grouped = run.samples.sort_values("read_at_unix_s").groupby("replica_id", observed=True)
    used = grouped["cpu_seconds"].last() - grouped["cpu_seconds"].first()
    elapsed = grouped["read_at_unix_s"].last() - grouped["read_at_unix_s"].first()
    if not (elapsed > 1).all():
        return None
    return float(machine - generator - (used / elapsed * 100).sum())
