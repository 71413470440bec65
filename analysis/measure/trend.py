"""Whether something rose or fell steadily: Theil and Sen's slope says by how much, Kendall's tau how steadily."""

from __future__ import annotations

import math

import numpy as np

PARTS = 10
LEAST_IN_PART, LEAST_IN_ALL = 10, 200
"""Response times are cut into so many parts by time, if there are enough of them for their medians."""
LIMIT = 0.1
ALPHA = 0.001
"""There is a trend if the medians of the parts rise or fall by more than 10% from first to last (Theil and Sen's
slope), and so steadily (Kendall's tau) that noise alone does so in one run of 1,000."""


def drift(at_unix_s: np.ndarray, times_ms: np.ndarray, window_unix_s: tuple[float, float]) -> float | None:
    """The share by which response times rose (or fell: negative) within a window; None without a trend, or if there are
    too few to tell."""
    start, end = window_unix_s
    if len(times_ms) < LEAST_IN_ALL or end <= start:
        return None
    place = at_unix_s - start  # changed in its place: there may be millions
    place /= end - start
    place *= PARTS
    place = np.clip(place, 0, PARTS - 1, out=place).astype(np.int8)
    if np.bincount(place, minlength=PARTS).min() < LEAST_IN_PART:
        return None
    medians = np.array([np.median(times_ms[place == number]) for number in range(PARTS)])
    if medians.min() <= 0:
        return None
    return steady_change(np.log(medians))


def steady_change(logs: np.ndarray) -> float | None:
    """The share by which values rose (or fell: negative) from the first to the last, by their logarithms; None if they
    did not, or not steadily."""
    last = len(logs) - 1
    early, late = np.triu_indices(len(logs), 1)
    slope = np.median((logs[late] - logs[early]) / (late - early))  # Theil and Sen
    if abs(slope) * last <= math.log1p(LIMIT):
        return None
    return math.expm1(slope * last) if is_steady(logs) else None


def is_steady(values: np.ndarray) -> bool:
    """Whether values rise, or fall, so steadily that noise alone does so in one of 1,000 cases (Kendall's tau; as a
    test for a trend in time: H. B. Mann, Econometrica 13, 1945)."""
    # Imported here: a third of a second, which only a change is worth.
    from scipy.stats import kendalltau  # noqa: PLC0415

    return bool(kendalltau(np.arange(len(values)), values).pvalue < ALPHA)
