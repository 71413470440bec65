"""The load against queueing theory: the formulas, the intervals, the server, and the benchmark as a whole."""

from __future__ import annotations

import http.client
import json
import math
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal, localcontext
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import ROOT
from scipy import integrate

from benchmarks.batch_means import BATCHES, estimate_mean, estimate_quantile
from benchmarks.queueing import (
    OPEN_LOAD,
    Load,
    judged,
    read_requests,
    run_all,
    running_server,
    until_the_first_end,
)
from benchmarks.queueing_cases import CONSTANT, EXPONENTIAL, QUICK, SERVICE_MS, OpenCase
from benchmarks.queueing_compare import Compared, compare_throughput, compare_waits, idle_time
from benchmarks.queueing_theory import (
    closed_throughput,
    md1_share_within,
    md1_states,
    md1_wait_quantile,
    mean_wait,
    mm1_wait_quantile,
    waits,
)
from infra.errors import DeploymentError
from runfiles.files import REQUESTS_SUFFIX

LOADS = (0.3, 0.5, 0.7)


def erlangs_share_within(wait: float, load: float) -> float:
    """Erlang's formula of 1909, with so many digits that its alternating signs do no harm."""
    with localcontext(prec=200):
        arrivals, busy = Decimal(wait) * Decimal(load), Decimal(load)
        terms = [
            (busy * part - arrivals) ** part * (arrivals - busy * part).exp() / math.factorial(part)
            for part in range(1, math.floor(wait) + 1)
        ]
        return float((1 - busy) * (arrivals.exp() + sum(terms)))


def simulated_waits(load: float, number: int, chance: np.random.Generator, *, is_constant: bool = True) -> np.ndarray:
    services = np.ones(number) if is_constant else chance.exponential(1, number)
    return waits(np.cumsum(chance.exponential(1 / load, number)), services)


@pytest.mark.parametrize("load", [*LOADS, 0.95])
@pytest.mark.parametrize("wait", [0.0, 0.4, 1.0, 1.07, 2.5, 17.0, 60.3])
def test_the_waits_of_md1_are_as_in_erlangs_formula(load: float, wait: float) -> None:
    assert md1_share_within(wait, load) == pytest.approx(erlangs_share_within(wait, load), rel=1e-12)


def test_the_states_of_md1_are_those_of_the_textbook() -> None:
    """p1 = (1 - a)(e^a - 1), p2 = (1 - a) e^a (e^a - 1 - a): Gross and Harris, Fundamentals of Queueing Theory, 5.1."""
    grown = math.exp(0.5)
    assert md1_states(3, 0.5) == pytest.approx([0.5, 0.5 * (grown - 1), 0.5 * grown * (grown - 1.5)], rel=1e-12)
    assert md1_states(200, 0.7).sum() == pytest.approx(1, rel=1e-12)


def test_the_mean_waits_are_those_of_the_tables() -> None:
    """In services. M/M/1: a / (1 - a); M/D/1 waits half as long."""
    assert [mean_wait(load, 1) for load in LOADS] == pytest.approx([0.42857, 1.0, 2.33333], rel=1e-5)
    assert [mean_wait(load, 0) for load in LOADS] == pytest.approx([0.21429, 0.5, 1.16667], rel=1e-4)


@pytest.mark.parametrize("load", LOADS)
def test_the_mean_of_the_distribution_is_that_of_pollaczek_and_khinchine(load: float) -> None:
    mean, _ = integrate.quad(lambda wait: 1 - md1_share_within(wait, load), 0, 60, limit=400, points=range(1, 10))
    assert mean == pytest.approx(mean_wait(load, 0), rel=1e-6)


@pytest.mark.parametrize("load", LOADS)
def test_percentiles_are_where_the_distribution_reaches_them(load: float) -> None:
    assert md1_share_within(md1_wait_quantile(0.95, load), load) == pytest.approx(0.95, rel=1e-9)
    assert load * math.exp(-(1 - load) * mm1_wait_quantile(0.95, load)) == pytest.approx(0.05, rel=1e-9)
    assert md1_wait_quantile(0.9 - load, load) == mm1_wait_quantile(0.9 - load, load) == 0  # they do not wait


def test_the_p95_of_mm1_is_the_closed_form() -> None:
    """At half load: ln 10 / 0.5 services."""
    assert mm1_wait_quantile(0.95, 0.5) == pytest.approx(4.60517, rel=1e-6)


@pytest.mark.parametrize("is_constant", [True, False])
def test_theory_is_what_lindleys_recursion_makes(is_constant: bool) -> None:
    chance = np.random.default_rng(1)
    simulated = simulated_waits(0.7, 2_000_000, chance, is_constant=is_constant)
    quantile = md1_wait_quantile if is_constant else mm1_wait_quantile
    assert simulated.mean() == pytest.approx(mean_wait(0.7, 0 if is_constant else 1), rel=0.02)
    assert np.quantile(simulated, 0.95) == pytest.approx(quantile(0.95, 0.7), rel=0.02)


def test_lindleys_recursion_by_hand() -> None:
    arrivals, services = np.array([0.0, 1.0, 2.0, 9.0, 9.5]), np.array([3.0, 1.0, 1.0, 2.0, 1.0])
    assert waits(arrivals, services).tolist() == [0.0, 2.0, 2.0, 0.0, 1.5]


@pytest.mark.parametrize("users", [1, 2, 8, 20])
def test_closed_users_get_what_the_machine_repairman_model_says(users: int) -> None:
    """1 - p0 of M/M/1//N, with p0 = 1 / sum of N! / (N - n)! (1 / think)^n (Kleinrock, Queueing Systems 1, 3.8)."""
    idle = 1 / sum(math.perm(users, busy) / 10.0**busy for busy in range(users + 1))
    assert closed_throughput(users, 10.0) == pytest.approx(1 - idle, rel=1e-12)


@pytest.mark.parametrize("load", [0.3, 0.7])
def test_nineteen_of_twenty_intervals_hold_the_truth(load: float) -> None:
    """At load 0.3 the p95 lies beside a kink of the distribution, where percentiles of batches would mislead."""
    chance, experiments = np.random.default_rng(1), 300
    truth = mean_wait(load, 0), md1_wait_quantile(0.95, load)
    held = np.zeros(2)
    for _ in range(experiments):
        run = simulated_waits(load, 30_000, chance)
        found = estimate_mean(run), estimate_quantile(run, 0.95)
        held += [each.low <= true <= each.high for each, true in zip(found, truth, strict=True)]
    assert (held / experiments >= 0.91).all()
    assert (held / experiments <= 0.985).all()


def test_an_interval_needs_a_value_for_each_batch() -> None:
    with pytest.raises(ValueError, match=f"{BATCHES - 1} values are too few for {BATCHES} batches"):
        estimate_mean(np.ones(BATCHES - 1))


def simulated_run(load: float, number: int, idle_ms: float, seed: int = 1) -> pd.DataFrame:
    """Requests as a perfect instrument would record them at a server with constant services."""
    arrived = np.cumsum(np.random.default_rng(seed).exponential(SERVICE_MS / load, number))
    waited = waits(arrived, np.full(number, SERVICE_MS))
    return pd.DataFrame(
        {
            "arrived_ms": arrived,
            "response_time_ms": waited + SERVICE_MS + idle_ms,
            "service_ms": SERVICE_MS,
            "is_measured": arrived > 10_000,
        }
    )


def test_waits_that_are_measured_rightly_hold_and_are_those_of_the_same_arrivals() -> None:
    runs = [simulated_run(0.5, 30_000, 0.4, seed) for seed in (1, 2)]
    compared = compare_waits(OpenCase(CONSTANT, 0.5, servers=2), runs, idle_ms=0.4)
    assert [each.case for each in compared] == ["M/D/1, load 0.5"] * 2
    assert all(each.holds for each in compared)
    for each in compared:
        assert each.measured == pytest.approx(each.same_arrivals, abs=1e-4)
    assert compared[0].theory == pytest.approx(5)


def test_waits_of_a_load_that_waits_for_answers_do_not_hold() -> None:
    """A client that sends only after the answer before, and counts from then, never sees a wait."""
    run = simulated_run(0.7, 60_000, 0.4).assign(response_time_ms=SERVICE_MS + 0.4)
    mean, p95 = compare_waits(OpenCase(CONSTANT, 0.7, servers=1), [run], idle_ms=0.4)
    assert not mean.holds
    assert not p95.holds
    assert p95.same_arrivals == pytest.approx(p95.theory, rel=0.1)


def test_an_interval_that_is_too_wide_does_not_hold() -> None:
    mean, _ = compare_waits(OpenCase(CONSTANT, 0.5, servers=1), [simulated_run(0.5, 2_000, 0.4)], idle_ms=0.4)
    assert mean.low <= mean.theory <= mean.high
    assert mean.half_width_percent > 7
    assert not mean.holds


def test_what_an_idle_server_takes_is_what_the_answers_take_beyond_the_service() -> None:
    run = simulated_run(0.5, 3_000, 0.4).assign(response_time_ms=[SERVICE_MS + 0.3, SERVICE_MS + 0.5] * 1_500)
    assert idle_time(run).value == pytest.approx(0.4, abs=1e-3)


def test_the_throughput_of_closed_users_is_that_of_their_answers() -> None:
    theory = closed_throughput(2, 10.0) * 100
    ends = np.arange(1, 6_000) * 1000 / theory
    run = pd.DataFrame({"arrived_ms": ends - 15, "response_time_ms": 15.0, "service_ms": 10.0, "is_measured": True})
    compared = compare_throughput(2, run, idle_ms=0.0)
    assert compared.measured == pytest.approx(compared.theory)
    assert compared.holds
    assert not compare_throughput(3, run, idle_ms=0.0).holds


@pytest.fixture(params=[CONSTANT, EXPONENTIAL])
def server(request: pytest.FixtureRequest) -> Iterator[tuple[str, int]]:
    with running_server(request.param, seed=1) as port:
        yield request.param, port


def told(header: str) -> tuple[float, float]:
    """How long a request waited and was served, in ms."""
    found = re.fullmatch(r"queue;dur=([\d.]+), inference;dur=([\d.]+)", header)
    assert found is not None, header
    return float(found[1]), float(found[2])


def test_the_server_serves_one_request_at_a_time_in_order(server: tuple[str, int]) -> None:
    """What one is late does not delay the next. That is tried three times: a busy machine delays all of them, and may
    read two that were sent one after the other in another order."""
    services, port = server
    tries = []
    for _ in range(3):
        answers = answers_to_twenty_at_once(port)
        assert services == EXPONENTIAL or {served for _, served, _ in answers} == {SERVICE_MS}
        before_ms = 0.0  # what the services of all those took that came before
        is_in_order = True
        for waited, served, ended in answers:
            is_in_order &= waited <= before_ms + 1e-3
            before_ms += served
            is_in_order &= ended >= before_ms
        tries.append((is_in_order, max(ended for *_, ended in answers) - before_ms))
        if is_in_order and tries[-1][1] < 60:
            break
    assert any(is_in_order and late_ms < 60 for is_in_order, late_ms in tries), tries


def answers_to_twenty_at_once(port: int) -> list[tuple[float, float, float]]:
    """How long each waited, how long it was served, and when its answer had come, in ms; in the order of sending."""
    clients = [socket.create_connection(("127.0.0.1", port)) for _ in range(20)]
    began = time.perf_counter()
    answers = []
    for client in clients:
        client.sendall(b"POST /infer HTTP/1.1\r\nHost: queue\r\nContent-Length: 2\r\n\r\nok")
    for client in clients:
        with client:
            header = client.recv(1000).decode().split("Server-Timing: ")[1].split("\r\n")[0]
            answers.append((*told(header), (time.perf_counter() - began) * 1000))
    return answers


def test_the_server_keeps_a_connection_and_serves_a_lone_request_at_once(server: tuple[str, int]) -> None:
    _, port = server
    client = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    beyond = []
    for _ in range(20):
        began = time.perf_counter()
        client.request("POST", "/infer", b"ok")
        answer = client.getresponse()
        assert answer.read() == b"ok"
        took_ms = (time.perf_counter() - began) * 1000
        waited, served = told(answer.headers["Server-Timing"])
        assert waited == 0
        assert took_ms >= served
        beyond.append(took_ms - served)
        assert client.sock is not None
    client.close()
    assert min(beyond) < 1  # a timer that rounds up to whole ms would take more with most services


def test_a_run_counts_until_the_first_one_ends() -> None:
    long = pd.DataFrame({"arrived_ms": np.arange(0, 9000, 10), "is_measured": True})
    short = long[long["arrived_ms"] <= 5000].assign(is_measured=lambda run: run["arrived_ms"] > 1000)
    cut = until_the_first_end({"long": long, "short": short})
    assert cut["long"].loc[cut["long"]["is_measured"], "arrived_ms"].max() == 3990
    assert cut["short"].loc[cut["short"]["is_measured"], "arrived_ms"].agg(["min", "max"]).tolist() == [1010, 3990]


def test_two_misses_may_be_chance_but_not_three_and_no_arrival_may_be_left_out() -> None:
    held = Compared("M/D/1, load 0.5", "mean wait", "ms", 5, 5.1, 4.9, 5.3, 4, 5.05, holds=True)
    missed = replace(held, holds=False)
    sent = {"open": {"dropped": 0, "over_bound": 0}}
    assert judged([held] * 10 + [missed] * 2, [held], {"idle": sent}) == {"not_sent": 0, "missed": 2, "all_hold": True}
    assert not judged([held] * 9 + [missed] * 3, [held], {"idle": sent})["all_hold"]
    assert not judged([held] * 12, [held, missed], {"idle": sent})["all_hold"]
    not_sent = {"open": {"dropped": 2, "over_bound": 3}}
    assert judged([held] * 12, [held], {"idle": sent, "loaded": not_sent, "closed": {"open": None}}) == {
        "not_sent": 5,
        "missed": 0,
        "all_hold": False,
    }


def test_a_request_that_failed_ends_the_benchmark(tmp_path: Path) -> None:
    columns = "started_at_unix_s,response_time_ms,inference_ms,send_delay_ms,phase,error\n"
    rows = "1800000000.5,12.5,10,0.1,measured,\n1800000001,1,,0.1,measured,connection refused\n"
    Path(f"{tmp_path / 'idle'}{REQUESTS_SUFFIX}").write_text(columns + rows)
    with pytest.raises(DeploymentError, match="1 of 2 requests of idle failed: connection refused"):
        read_requests(tmp_path / "idle")


def test_a_load_that_can_not_be_sent_ends_the_benchmark(tmp_path: Path) -> None:
    load = Load("idle", "idle", CONSTANT, OPEN_LOAD, ("--rate", "none"))
    with pytest.raises(DeploymentError, match=r"(?s)Locust of idle ended with exit code 2: .*--rate"):
        run_all([load], QUICK, 1, tmp_path)


def test_the_benchmark_as_a_whole(tmp_path: Path) -> None:
    """Its figures are about right at one of three times: a machine that stalls for a second makes all of them wait."""
    path = tmp_path / "figures.json"
    command = [sys.executable, "-m", "benchmarks.queueing", "--quick", "--json", str(path)]
    for _ in range(3):
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=120)
        assert done.returncode in (0, 1), done.stderr  # so few requests prove nothing
        figures = json.loads(path.read_text())
        assert figures["loads"].keys() == {"idle", "constant-0.5-1", "closed-8"}
        mean, p95 = figures["waits"]
        assert mean["theory"] == pytest.approx(5)
        assert p95["theory"] == pytest.approx(20.506, rel=1e-4)
        (throughput,) = figures["throughputs"]
        wrong = {
            "not sent": figures["not_sent"] > 0,
            "arrivals": not 200 < figures["arrivals"] < 600,
            "mean": not 0.25 * mean["same_arrivals"] < mean["measured"] < mean["same_arrivals"] + 40,
            "p95": not 0.25 * p95["same_arrivals"] < p95["measured"] < p95["same_arrivals"] + 40,
            "throughput": not 30 < throughput["measured"] < 90,
        }
        if not any(wrong.values()):
            break
    assert not any(wrong.values()), (wrong, figures)
    assert f"{mean['measured']:.2f} ms" in done.stdout
    assert "M/M/1//8, closed users" in done.stdout
