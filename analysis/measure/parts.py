"""Where a response time goes: the load generator itself, network and HTTP, the queue, the model.

The load generator's part comes from the blank: the same client against a responder that answers at once. With several
users an answer also waits until the client reads it. The blank has one user, so what an answer waited longer than the
blank's is added to the blank's response time. In an open workload a response time begins when the request is due, so
how late it was sent is the load generator's part too.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from analysis.measure.latency import quantiles
from analysis.measure.quantity import NAN, PARTS_OF_TIME, Estimate, missing
from analysis.read.results import Results
from analysis.read.rows import Rows

CLIENT, NETWORK, QUEUE, MODEL = PARTS = tuple(PARTS_OF_TIME)
AROUND_MEDIAN = (0.4, 0.6)
"""The parts are means over the requests between these quantiles of the response time, so they add up to the median."""
WHICH = "with a response time between the 40th and the 60th percentile"
NOT_SAID = "the service did not say (Server-Timing)"


@dataclass(frozen=True)
class Blank:
    """What the load generator itself contributes: the median and p95 response time of the blank, and the median time in
    which its answers waited for the client (NaN: the system does not tell)."""

    median_ms: Estimate
    p95_ms: Estimate
    wait_ms: float = NAN


def measure_blank(results: Results) -> Blank:
    """The blank of an experiment; its estimates say why where there is none."""
    if results.blank is None:
        reason = results.why_no_blank or "no blank was measured"
        return Blank(missing(reason), missing(reason))
    answered = results.blank.answered
    median, p95 = quantiles(answered["response_time_ms"].to_numpy(), (0.5, 0.95))
    waits = answered["client_wait_ms"].dropna()
    return Blank(median, p95, float(waits.median()) if len(waits) else NAN)


def parts(answered: pd.DataFrame | Rows, blank: Blank) -> Mapping[str, Estimate]:
    """The parts of the response time, by the keys of ``PARTS``.

    Without a blank the client's part is missing, and that of the network includes it.
    """
    times = answered["response_time_ms"].to_numpy()
    if not len(times):
        return dict.fromkeys(PARTS, missing("no request was answered"))
    low, high = np.quantile(times, AROUND_MEDIAN)
    middle = answered[(times >= low) & (times <= high)]
    total, queue, model = (middle[name].to_numpy() for name in ("response_time_ms", "queue_ms", "inference_ms"))
    client = _client_ms(middle, blank)
    if np.isnan(client).all():
        known = ~np.isnan(queue + model)
        outside = total - queue - model
    else:
        known = ~np.isnan(queue + model + client)
        outside = total - queue - model - client
    if not known.any():
        return dict.fromkeys(PARTS[1:], missing(NOT_SAID)) | {CLIENT: _mean(client, blank)}
    told = {NETWORK: outside, QUEUE: queue, MODEL: model}
    return {CLIENT: _mean(client[known], blank)} | {key: _mean(values[known], blank) for key, values in told.items()}


def _client_ms(requests: pd.DataFrame, blank: Blank) -> np.ndarray:
    """The load generator's part of each request; NaN where it is not known."""
    waits = requests["client_wait_ms"].to_numpy(dtype=float)
    own: np.ndarray = blank.median_ms.value + requests["send_delay_ms"].fillna(0.0).to_numpy(dtype=float)
    if np.isnan(blank.wait_ms) or np.isnan(waits).all():
        return own
    own += waits - blank.wait_ms
    return own


def _mean(values: np.ndarray, blank: Blank) -> Estimate:
    told = values[~np.isnan(values)]
    if not len(told):
        return missing(blank.median_ms.missing or NOT_SAID)
    return Estimate(float(told.mean()), len(told), "requests", which=WHICH)
