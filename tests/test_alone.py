"""One experiment at a time: in a checkout, on a machine, on an engine."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import free_port
from test_infra import NOWHERE, said_by
from test_infra import infra as start_infra
from test_ownership import checkout_in

from infra import alone
from infra.alone import HOLDER_LABEL, VOLUME, alone_on_engine, alone_on_machine
from infra.deployments.docker_engine import Engine
from infra.deployments.ownership import CHECKOUT_LABEL, LABEL, labels
from infra.errors import DeploymentError

HERE = platform.node()
HOLD = """
import sys
from infra.alone import alone_on_engine, alone_on_machine
with alone_on_machine(), alone_on_engine(sys.argv[1:]):
    print("alone", flush=True)
    sys.stdin.read()
"""


@pytest.fixture(autouse=True)
def own_folder_for_temporary_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(folder))
    monkeypatch.setattr("tempfile.tempdir", None)
    return folder


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    return checkout_in(tmp_path / "clone")


def hold(folder: Path, *names: str, **environment: str) -> subprocess.Popen[str]:
    """A process that holds the locks as an experiment of another checkout does."""
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, *names],
        cwd=folder,
        env=os.environ | environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == "alone\n"
    return holder


def test_an_experiment_of_another_checkout_on_this_machine_is_named(clone: Path, tmp_path: Path) -> None:
    holder = hold(clone)
    try:
        for arguments in (["run", "--only", "host", "--results", str(tmp_path / "results")], ["up", "host"]):
            run = start_infra(*arguments, "--port", f"host={free_port()}")
            assert f"error: an experiment of the checkout {clone} on {HERE} (process {holder.pid}) runs on" in said_by(
                run
            )
            assert run.returncode == 1
        assert not (tmp_path / "results").exists()
        doctor = said_by(start_infra("doctor"))
        assert (
            f"run                 an experiment of the checkout {clone} on {HERE} (process {holder.pid}) runs on"
            in doctor
        )
        down = start_infra("down", "host")
        assert "nothing of Fourfold's was there" in said_by(down)
    finally:
        holder.kill()  # as kill -9 does: the kernel takes the lock back
        holder.communicate()
    with alone_on_machine():
        pass


def test_what_an_experiment_of_this_checkout_measures_is_neither_changed_nor_removed() -> None:
    with alone_on_machine():
        for arguments in (["down", "host"], ["down", "--all"], ["up", "host"], ["change", "host", "kill"]):
            run = start_infra(*arguments)
            assert "error: another experiment runs from this folder" in said_by(run)
            assert run.returncode == 1


def test_users_share_the_machines_lock_in_a_sticky_folder(own_folder_for_temporary_files: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can act as another user")
    for folder in (own_folder_for_temporary_files, *list(own_folder_for_temporary_files.parents)[:3]):
        folder.chmod(0o1777)
    lock = own_folder_for_temporary_files / alone.MACHINE_LOCK
    with alone._machine_lock() as file:
        assert lock.stat().st_mode & 0o777 == 0o666
        assert alone._is_locked(file)
        os.seteuid(65534)
        try:
            with alone._machine_lock() as of_another_user:
                assert not alone._is_locked(of_another_user)
        finally:
            os.seteuid(0)
    lock.chmod(0o644)
    os.seteuid(65534)
    try:
        with alone._machine_lock() as file:  # may be read alone, and is locked all the same
            assert alone._is_locked(file)
    finally:
        os.seteuid(0)


@pytest.mark.parametrize("kind", ["folder", "link"])
def test_a_lock_that_can_not_be_opened_is_told(own_folder_for_temporary_files: Path, kind: str) -> None:
    lock = own_folder_for_temporary_files / alone.MACHINE_LOCK
    target = own_folder_for_temporary_files / "target"
    if kind == "folder":
        lock.mkdir()
    else:
        lock.symlink_to(target)
    with pytest.raises(DeploymentError, match=r"can't be opened \(.*; remove that file"), alone_on_machine():
        pass
    assert not target.exists()


def test_without_an_engine_there_is_nothing_to_be_alone_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", NOWHERE)
    with alone_on_engine(["host", "docker"]):
        pass


@pytest.fixture
def no_lock_is_left(engine: Engine) -> Iterator[None]:
    yield
    left = [volume.name for volume in engine.client.volumes.list() if volume.name == VOLUME]
    for name in left:
        engine.client.volumes.get(name).remove()
    assert not left


def is_taken(engine: Engine) -> bool:
    return any(volume.name == VOLUME for volume in engine.client.volumes.list())


@pytest.mark.engine
@pytest.mark.usefixtures("no_lock_is_left")
def test_an_experiment_of_another_checkout_on_this_engine_is_named(clone: Path, engine: Engine, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    holder = hold(clone, "docker", TMPDIR=str(other))  # as on another machine: it does not see this one's lock
    try:
        held = f"an experiment of the checkout {clone} on {HERE} runs on this engine; the two would measure each other"
        for arguments in (["run", "--only", "compose", "--image", "x", "--results", str(tmp_path)], ["up", "compose"]):
            run = start_infra(*arguments, DOCKER_HOST=engine.endpoint)
            assert f"error: {held}" in said_by(run)
            assert run.returncode == 1
        assert f"run                 {held}" in said_by(start_infra("doctor", DOCKER_HOST=engine.endpoint))
        with alone_on_engine(["host"]):  # it uses no engine
            pass
    finally:
        holder.kill()
        holder.communicate()
    assert is_taken(engine)  # nobody was left to remove it, and it counts no longer
    with alone_on_engine(["docker"]):
        assert is_taken(engine)


@pytest.mark.engine
@pytest.mark.usefixtures("no_lock_is_left")
@pytest.mark.parametrize("error", [DeploymentError, KeyboardInterrupt, SystemExit])
def test_the_engine_is_free_however_an_experiment_ends(engine: Engine, error: type[BaseException]) -> None:
    with pytest.raises(error), alone_on_engine(["docker"]):
        raise error
    assert not is_taken(engine)


@pytest.mark.engine
@pytest.mark.usefixtures("no_lock_is_left")
def test_a_lock_that_can_not_be_judged_here_is_named_with_the_command_that_removes_it(engine: Engine) -> None:
    this = alone._this_process()
    gone = this | {"pid": 2**22 + 1}
    in_a_container, far_away = gone | {"namespace": "pid:[1]"}, gone | {"node": "far-away"}
    elsewhere = {LABEL: "lock", CHECKOUT_LABEL: "/home/ann/a on far-away"}
    judged = {
        "in another container": elsewhere | {HOLDER_LABEL: json.dumps(in_a_container)},
        "on another machine": elsewhere | {HOLDER_LABEL: json.dumps(far_away)},
        "of no form": elsewhere | {HOLDER_LABEL: "x"},
        "of nobody": elsewhere,
    }
    for made in judged.values():
        volume = engine.client.volumes.create(VOLUME, labels=made)
        with pytest.raises(DeploymentError) as caught, alone_on_engine(["docker"]):
            pass
        volume.remove()
        assert "an experiment of the checkout /home/ann/a on far-away runs on this engine" in str(caught.value)
        assert str(caught.value).endswith(f"if it was killed: docker volume rm {VOLUME}")
    foreign = engine.client.volumes.create(VOLUME)
    with pytest.raises(DeploymentError, match="that Fourfold did not make"), alone_on_engine(["docker"]):
        pass
    foreign.remove()
    for made in (elsewhere | {HOLDER_LABEL: json.dumps(gone)}, labels("lock")):  # ended, or of this checkout
        engine.client.volumes.create(VOLUME, labels=made)
        with alone_on_engine(["docker"]):
            pass


@pytest.mark.engine
@pytest.mark.usefixtures("no_lock_is_left")
def test_a_lock_that_somebody_took_away_is_not_missed(engine: Engine) -> None:
    with alone_on_engine(["docker"]):
        engine.client.volumes.get(VOLUME).remove()
        others = engine.client.volumes.create(VOLUME, labels={LABEL: "lock", HOLDER_LABEL: "another's"})
    assert is_taken(engine)
    others.remove()
