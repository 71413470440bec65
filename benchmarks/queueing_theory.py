"""What queueing theory says of one server that serves one request at a time, first come first served.

The load is the arrival rate times the mean service time, and lies below 1. Arrivals are Poisson. All times are in units
of the mean service time. M/D/1: each service takes equally long. M/M/1: services are exponential.
"""

from __future__ import annotations

import math

import numpy as np
from scipy import optimize, stats


def mean_wait(load: float, squared_variation: float) -> float:
    """The mean time before the service begins (Pollaczek 1930, Khinchine 1932).

    Args:
        load: as above.
        squared_variation: variance of the service time, divided by the square of its mean; M/D/1: 0, M/M/1: 1.
    """
    return load * (1 + squared_variation) / (2 * (1 - load))


def mm1_wait_quantile(share: float, load: float) -> float:
    """The time that this share of the requests wait at most, in M/M/1: P(wait > t) = load * exp(-(1 - load) t)."""
    return max(0.0, math.log(load / (1 - share)) / (1 - load))


def md1_wait_quantile(share: float, load: float) -> float:
    """The time that this share of the requests wait at most, in M/D/1."""
    if share <= 1 - load:  # so many do not wait at all
        return 0.0
    longest = 1.0
    while md1_share_within(longest, load) < share:
        longest *= 2
    return float(optimize.brentq(lambda wait: md1_share_within(wait, load) - share, 0.0, longest))


def md1_share_within(wait: float, load: float) -> float:
    """The share of the requests that wait this long at most, in M/D/1.

    Erlang (1909) has this distribution as a sum whose signs alternate. At long waits it loses all digits. This is the
    sum of Franx (A simple solution for the M/D/c waiting time distribution, Operations Research Letters 29, 2001): all
    of its terms are positive.
    """
    whole = math.floor(wait) + 1
    queued = np.cumsum(md1_states(whole + 1, load))[1:]  # with at most 0, 1, ... requests that wait
    arrivals = stats.poisson.pmf(np.arange(whole), load * (whole - wait))
    return float(queued[::-1] @ arrivals)


def md1_states(number: int, load: float) -> np.ndarray:
    """The probabilities of 0, 1, ... requests in M/D/1, so many of them.

    The recursion adds positive terms only, so it is stable (Tijms, A First Course in Stochastic Models, 2003, 9.2).
    """
    more = stats.poisson.sf(np.arange(number), load)  # more than so many arrivals in a service
    states = np.empty(number)
    states[0] = 1 - load
    for state in range(1, number):
        known = states[0] * more[state - 1] + states[1:state] @ more[state - 1 : 0 : -1]
        states[state] = known / (1 - more[0])
    return states


def closed_throughput(users: int, think: float) -> float:
    """How many requests are answered in a mean service time, if each user sends its next one after a pause.

    This is the machine-repairman model (M/M/1//N): services are exponential, and ``think`` is the mean of the pauses,
    whatever their distribution. It is computed by mean value analysis (Reiser and Lavenberg, Journal of the ACM 27,
    1980).
    """
    throughput = queued = 0.0
    for present in range(1, users + 1):
        response = 1 + queued
        throughput = present / (think + response)
        queued = throughput * response
    return throughput


def waits(arrivals: np.ndarray, services: np.ndarray) -> np.ndarray:
    """How long each request waits in an empty server's queue, by Lindley's recursion (1952).

    Args:
        arrivals: when each request arrives, in order.
        services: how long each service takes, in the same unit.
    """
    ahead = np.concatenate([[0.0], np.cumsum(services[:-1] - np.diff(arrivals))])
    waited: np.ndarray = ahead - np.minimum.accumulate(ahead)
    return waited
