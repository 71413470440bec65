"""Whether a load was steady, and whether the load generator or other programs disturbed it."""

from __future__ import annotations

from analysis.judge.doubts import Reasons
from analysis.measure.series import throughput_per_second
from analysis.measure.trend import drift
from analysis.read.runs import Run
from runfiles.events import INCOMPLETE, POISSON, RUN_TIME

GENERATOR_LIMIT_PERCENT = 90
OTHERS_LIMIT_PERCENT = 30
"""CPU that neither load generator nor service used. It includes Docker's proxy and the kernel's network work."""
UNSTEADY = 0.25
"""A run is not steady if the answers in each second have a standard deviation above this share of their mean."""
RUN_TIME_SLACK_S = 2.0
"""A run may be this much shorter than its run time."""


def generator_doubts(run: Run) -> Reasons:
    """Whether the load generator had the CPU that it needed."""
    generator = run.record.generator
    percent = generator.cpu_percent
    if not generator.cpu_warnings and (percent or 0) <= GENERATOR_LIMIT_PERCENT:
        return []
    spent = f"{percent:.0f}% of a core" if percent is not None else "most of a core"
    fewer = "fewer users" if run.record.open is None else "more processes, at a lower rate,"
    return [
        (
            f"the load generator was short of CPU ({spent}), so response times and throughput "
            "show its limit, not that of the service; "
            f"measure with {fewer} or on a machine with more cores",
            "generator",
        )
    ]


def load_doubts(run: Run, *, is_mixed: bool = False) -> Reasons:
    """Whether a load ran as long as it should, was steady, and had the machine to itself. A staircase of rates, or a
    load with changes, ``is_mixed``: not steady as a whole."""
    found: Reasons = []
    if run.measured_requests.empty:
        found.append(("no request was measured", INCOMPLETE))
    ended, asked_s = run.record.ended_at_unix_s, run.record.run_time_s
    if run.record.ended_by == RUN_TIME and asked_s is not None and ended is not None:
        took_s = ended - run.record.started_at_unix_s
        if took_s < asked_s - RUN_TIME_SLACK_S:
            found.append((f"the run took {took_s:.0f} s, not {asked_s:g} s", "cut off"))
    if not is_mixed:
        found += steady_doubts(run)
    others = _cpu_of_others(run) if run.axis is None else None  # blocks tell it themselves
    if others is not None and others > OTHERS_LIMIT_PERCENT:
        text = f"other programs and the system took {others:.0f}% of a core during the run; close what is not needed"
        found.append((text, ""))
    return found


def steady_doubts(run: Run) -> Reasons:
    """Whether a load was steady."""
    return _of_throughput(run) + _of_trend(run)


def _of_throughput(run: Run) -> Reasons:
    """Whether about as many answers came in each second. The counts of a Poisson process have a variance as large as
    their mean, which is no fault."""
    seconds = throughput_per_second(run)
    by_chance = seconds.mean() if run.record.open is not None and run.record.open.arrivals == POISSON else 0.0
    if len(seconds) > 1 and seconds.var() - by_chance > (UNSTEADY * seconds.mean()) ** 2:
        text = f"throughput was not steady: {seconds.min():,} to {seconds.max():,} answers a second, "
        return [(f"{text}so the mean says little about this run", "")]
    return []


def _of_trend(run: Run) -> Reasons:
    """Whether response times rose or fell within the run."""
    change = trend(run)
    if change is None:
        return []
    text = f"response times {way_of(change)} by {abs(change):.0%} from the first to the last tenth of the run, so the "
    if run.record.blocks is not None and len(run.record.blocks.deployments) > 1:
        # Whether they did so against those of the other deployments is asked in check_blocks.
        return [(f"{text}service was not warm or the machine's speed changed; ratios are taken within a cycle", "")]
    text += "service was not warm or the machine slowed down"
    return [(f"{text}; use a longer warm-up (--set warm_up_s=20)", "trend")]


def way_of(change: float) -> str:
    """Which way something went, in a sentence."""
    return "rose" if change > 0 else "fell"


def trend(run: Run) -> float | None:
    """The share by which response times rose (or fell: negative) within the run; None without a trend."""
    answered = run.answered
    return drift(answered["started_at_unix_s"].to_numpy(), answered["response_time_ms"].to_numpy(), run.window_unix_s)


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
