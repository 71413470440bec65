"""What the load generator itself adds to the response times, and what waiting deployments used."""

from __future__ import annotations

from collections.abc import Sequence

from analysis.judge.doubts import Doubt
from analysis.measure.parts import CLIENT
from analysis.measure.rounds import Measurement
from analysis.read.results import Results

LARGE_SHARE = 1 / 3
"""The load generator's own time is a caveat if it is more than this share of the median response time."""
IDLE_LIMIT_PERCENT = 5.0
"""A deployment that waits should use less CPU: it takes that from the one that is measured."""


def generator_caveats(results: Results, loads: Sequence[Measurement]) -> list[Doubt]:
    """Caveats on the load generator's part of the response times, and on the CPU of deployments that wait."""
    return _of_blank(results) + _of_client(loads) + _of_waiting(loads)


def _of_blank(results: Results) -> list[Doubt]:
    """Whether a blank was measured. Earlier versions, whose plans have no layout, did not know it."""
    if results.blank is not None or results.experiment.plan.layout is None:
        return []
    reason = results.why_no_blank or "no blank was measured"
    text = f"It is not known how much of the response time is the load generator's own: {reason}."
    return [Doubt(text)]


def _of_client(loads: Sequence[Measurement]) -> list[Doubt]:
    large = []
    for load in loads:
        own, median = load.summary[CLIENT], load.summary["median_ms"]
        if own.is_measured and median.is_measured and own.value > LARGE_SHARE * median.value:
            large.append(f"{load.title} {own.value / median.value:.0%}")
    if not large:
        return []
    text = f"The load generator's own time is a large part of the median response time: {', '.join(large)}. "
    return [Doubt(f"{text}So ratios are closer to 1 than those of the deployments alone.")]


def _of_waiting(loads: Sequence[Measurement]) -> list[Doubt]:
    idle = [(load.title, load.summary["idle_cpu_percent"]) for load in loads]
    much = [f"{title} {used.value:.0f}%" for title, used in idle if used.value > IDLE_LIMIT_PERCENT]
    if not much:
        return []
    text = f"While the load was elsewhere, deployments that waited used CPU (100% = one core): {', '.join(much)}. "
    return [Doubt(f"{text}They took it from the one that was measured.")]
