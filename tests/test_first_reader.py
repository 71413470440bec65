"""What a student meets who measures an own service for the first time: advice that can be copied, and faults that are
told before anything is measured."""

from __future__ import annotations

from pathlib import Path

import pytest
from recorded_runs import measured, steady_requests, write_experiment, write_run

from analysis.analyse import analyse
from analysis.judge.advice import command_with
from analysis.read.results import read_results


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        ("python -m infra run", 'make bench ARGS="--set rounds=5"'),
        (
            "python -m infra run --service ../my-app/service.toml --only host,docker --set rounds=2 --set seconds=3",
            'make bench ARGS="--service ../my-app/service.toml --only host,docker --set seconds=3 rounds=5"',
        ),
        (
            "python -m infra run my.toml --set users=4 rounds=1 --port host=5001",
            'make bench ARGS="my.toml --port host=5001 --set users=4 rounds=5"',
        ),
        (
            "python -m infra run --service '../my app/$x.toml'",
            """make bench ARGS='--service '"'"'../my app/$$x.toml'"'"' --set rounds=5'""",
        ),
        ("python -m infra run --set", 'make bench ARGS="--set rounds=5"'),
        ("an 'open quote", 'make bench ARGS="--set rounds=5"'),
    ],
)
def test_the_advised_command_is_the_one_that_was_run_with_more_rounds(command: str, expected: str) -> None:
    assert command_with(command, rounds=5) == expected


def test_the_advised_command_can_name_other_deployments() -> None:
    command = "python -m infra run --only host --set deployments=docker seconds=3"
    assert command_with(command, only="swarm-3") == 'make bench ARGS="--only swarm-3 --set seconds=3"'


@pytest.mark.parametrize("rounds", [1, 2, 3])
def test_the_advice_to_measure_more_rounds_keeps_the_service(tmp_path: Path, rounds: int) -> None:
    ran = f"python -m infra run --service ../my-app/service.toml --only host,docker --set rounds={rounds}"
    write_experiment(tmp_path, [measured("host", rounds), measured("docker", rounds)], command=ran)
    for name in ("host", "docker"):
        for number in range(1, rounds + 1):
            write_run(tmp_path / name, "load", steady_requests(50), number=number)
    analysis = analyse(read_results(tmp_path))
    advised = 'make bench ARGS="--service ../my-app/service.toml --only host,docker --set rounds=5"'
    assert any(advised in doubt.text for doubt in analysis.validity.caveats)
    assert (advised in " ".join(analysis.headline)) == (rounds == 1)
