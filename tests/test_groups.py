"""Groups: which deployments run side by side, what keeps them apart, and what that is told as."""

from __future__ import annotations

import pytest

from infra.deployments.settings import Settings
from infra.deployments.table import BY_NAME, PORTS
from infra.experiment.groups import Memory, grouped, why_one_port

GIB = 1024**3
PLENTY = Memory(100 * GIB)
ONE_SERVICE = "Swarm, 1 replica and Swarm, 3 replicas can't run at once: they are one service, scaled"


@pytest.mark.parametrize(
    ("deployments", "expected"),
    [
        (("host",), (("host",),)),
        (("host", "docker", "docker-host-network", "compose"), (("host", "docker", "docker-host-network", "compose"),)),
        (("docker", "swarm-1"), (("docker", "swarm-1"),)),
        (("docker", "swarm-3"), (("docker", "swarm-3"),)),
        ((), ()),
    ],
)
def test_deployments_of_different_kinds_run_side_by_side(
    deployments: tuple[str, ...], expected: tuple[tuple[str, ...], ...]
) -> None:
    assert grouped(deployments, PLENTY) == (expected, None)


def test_one_service_scaled_has_two_groups_with_the_first_deployment_as_their_reference() -> None:
    planned = ("host", "docker", "compose", "swarm-1", "swarm-3")
    groups = (("host", "docker", "compose", "swarm-1"), ("host", "swarm-3"))
    assert grouped(planned, PLENTY) == (groups, ONE_SERVICE)
    assert grouped(("compose", "swarm-1", "swarm-3"), PLENTY)[0] == (("compose", "swarm-1"), ("compose", "swarm-3"))


def test_a_reference_of_the_same_kind_is_not_in_the_other_group() -> None:
    assert grouped(("swarm-1", "swarm-3"), PLENTY) == ((("swarm-1",), ("swarm-3",)), ONE_SERVICE)


@pytest.mark.parametrize(
    ("gib", "expected"),
    [
        (2.0, (("host", "docker", "docker-host-network", "compose"),)),
        (1.5, (("host", "docker", "docker-host-network"), ("host", "compose"))),
        (1.0, (("host", "docker"), ("host", "docker-host-network"), ("host", "compose"))),
        (0.5, (("host",), ("docker",), ("docker-host-network",), ("compose",))),
    ],
)
def test_where_memory_is_short_groups_are_smaller_and_the_reason_says_so(
    gib: float, expected: tuple[tuple[str, ...], ...]
) -> None:
    planned = ("host", "docker", "docker-host-network", "compose")
    groups, reason = grouped(planned, Memory(round(gib * GIB)))
    assert groups == expected
    if len(expected) == 1:
        assert reason is None
    else:
        assert f"{gib * 2 + 1:.0f} replicas need {gib + 0.5:.1f} GiB, {gib:.1f} GiB are free" in str(reason)


def test_three_replicas_need_three_times_the_memory() -> None:
    planned = ("host", "docker", "swarm-3")
    assert grouped(planned, Memory(round(2.5 * GIB))) == ((planned,), None)
    groups, reason = grouped(planned, Memory(round(2.4 * GIB)))
    assert groups == (("host", "docker"), ("host", "swarm-3"))
    assert reason == "5 replicas need 2.5 GiB, 2.4 GiB are free"


def test_an_engine_on_another_machine_has_memory_of_its_own() -> None:
    planned = ("host", "docker", "compose")
    assert grouped(planned, Memory(GIB // 2, engine_bytes=GIB)) == ((planned,), None)
    groups, reason = grouped(planned, Memory(100 * GIB, engine_bytes=GIB // 2))
    assert groups == (("host", "docker"), ("host", "compose"))
    assert reason == "2 replicas need 1.0 GiB, 0.5 GiB are on the engine's machine"
    assert grouped(planned, Memory(GIB // 2, engine_bytes=0)) == ((planned,), None)


def test_groups_that_were_measured_stay_and_what_can_run_now_is_added() -> None:
    planned = ("host", "docker", "swarm-1", "swarm-3")
    begun = (("host", "swarm-1"), ("host", "swarm-3"))
    assert grouped(planned, Memory(1), begun=begun[:1])[0][0] == ("host", "swarm-1")
    assert grouped(planned, PLENTY, begun=begun) == ((("host", "swarm-1", "docker"), ("host", "swarm-3")), None)
    assert grouped(("host",), PLENTY, begun=begun) == (begun, None)


def test_two_that_run_side_by_side_may_not_have_one_port() -> None:
    assert why_one_port(tuple(BY_NAME), Settings(ports=dict(PORTS))) is None
    reason = why_one_port(("host", "docker"), Settings(ports=PORTS | {"docker": 5000}))
    assert reason == (
        "docker run and Host process run side by side, and both have port 5000; "
        "give one of them another (--port docker=PORT), or measure in turns (--set layout=turns)"
    )
    assert why_one_port(("swarm-1", "swarm-3"), Settings(ports=PORTS | {"swarm": 5000})) is None
    elsewhere = Settings(ports=PORTS | {"docker": 5000}, reach={"docker": "server:5000"})
    assert why_one_port(("host", "docker"), elsewhere) is None
