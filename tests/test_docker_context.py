"""Which engine the docker command talks to, and the errors if its context or its configuration is broken."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
from conftest import free_port
from test_infra import infra, said_by

from infra.deployments.docker_context import Address, address, doubts
from infra.deployments.docker_engine import connect
from infra.errors import DeploymentError

DEFAULT = Address("unix:///var/run/docker.sock")
NOWHERE = "unix:///nowhere/docker.sock"


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder for DOCKER_CONFIG, and none of the variables that choose an engine."""
    for name in ("DOCKER_HOST", "DOCKER_CONTEXT", "DOCKER_TLS_VERIFY", "DOCKER_CERT_PATH"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    return tmp_path


def write_config(folder: Path, **content: object) -> None:
    (folder / "config.json").write_text(json.dumps(content))


def write_context(folder: Path, name: str, meta: object) -> Path:
    """Write what ``docker context create`` writes. Returns the folder where its keys would be."""
    digest = hashlib.sha256(name.encode()).hexdigest()
    path = folder / "contexts" / "meta" / digest / "meta.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(meta if isinstance(meta, str) else json.dumps(meta))
    return folder / "contexts" / "tls" / digest / "docker"


def meta_of(host: str, *, skips_verify: bool = False) -> dict[str, object]:
    return {"Name": "x", "Metadata": {}, "Endpoints": {"docker": {"Host": host, "SkipTLSVerify": skips_verify}}}


def test_doctor_names_a_context_that_is_missing_with_its_remedy(config: Path) -> None:
    write_config(config, currentContext="desktop-linux")
    said = said_by(infra("doctor", "--port", f"host={free_port()}", DOCKER_HOST="", DOCKER_CONFIG=str(config)))
    assert "engine              the Docker context desktop-linux is missing (" in said
    assert "docker context use default, or unset DOCKER_CONTEXT" in said
    assert said.count("can't run: the Docker context desktop-linux is missing") == 5
    assert "host                Host process: can run" in said


def test_docker_host_comes_before_the_context_and_the_variable_before_the_file(
    config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert address() == DEFAULT
    write_config(config, currentContext="of-the-file")
    write_context(config, "of-the-file", meta_of("unix:///file.sock"))
    write_context(config, "of-the-variable", meta_of("ssh://me@there"))
    assert address() == Address("unix:///file.sock", context="of-the-file")
    monkeypatch.setenv("DOCKER_CONTEXT", "of-the-variable")
    assert address() == Address("ssh://me@there", context="of-the-variable")
    monkeypatch.setenv("DOCKER_CONTEXT", "default")
    assert address() == DEFAULT
    monkeypatch.setenv("DOCKER_CONTEXT", "missing")
    monkeypatch.setenv("DOCKER_HOST", NOWHERE)
    assert address() == Address(NOWHERE)


@pytest.mark.parametrize("content", ["{nope", "[]", '{"currentContext": 5}', '{"currentContext": ""}', "{}", ""])
def test_a_config_that_the_docker_command_passes_over_is_passed_over(config: Path, content: str) -> None:
    (config / "config.json").write_text(content)
    assert address() == DEFAULT


@pytest.mark.parametrize("meta", ["{", "", "[]", "{}", '{"Endpoints": 5}', '{"Endpoints": {"docker": null}}'])
def test_a_context_that_is_broken_is_named(config: Path, meta: str) -> None:
    write_config(config, currentContext="mine")
    write_context(config, "mine", meta)
    with pytest.raises(DeploymentError, match=r"the Docker context mine is broken .* docker context use default"):
        connect()


def test_a_context_whose_engine_is_gone_is_named(config: Path) -> None:
    write_config(config, currentContext="mine")
    for host in (NOWHERE, f"tcp://127.0.0.1:{free_port()}"):
        write_context(config, "mine", meta_of(host))
        with pytest.raises(DeploymentError) as caught:
            connect()
        assert str(caught.value) == (
            f"no Docker engine at {host} (context mine), start one and run again, "
            "or choose another (docker context use default)"
        )


def test_an_address_that_makes_no_sense_is_named(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for host in ("tcp://127.0.0.1:x", "tcp://127.0.0.1:99999", "gopher://x", "x"):
        monkeypatch.setenv("DOCKER_HOST", host)
        with pytest.raises(DeploymentError, match=f"no Docker engine answers at {host} "):
            connect()


def test_a_contexts_keys_are_used_and_a_missing_one_is_named(config: Path) -> None:
    write_config(config, currentContext="mine")
    keys = write_context(config, "mine", meta_of("tcp://10.0.0.1:2376"))
    assert address().tls is None
    keys.mkdir(parents=True)
    for name in ("ca.pem", "cert.pem", "key.pem"):
        (keys / name).touch()
    tls = address().tls
    assert tls is not None
    assert (tls.ca_cert, tls.cert, tls.verify) == (
        str(keys / "ca.pem"),
        (str(keys / "cert.pem"), str(keys / "key.pem")),
        True,
    )
    (keys / "key.pem").unlink()
    with pytest.raises(DeploymentError, match=r"the Docker context mine is broken .* lacks cert\.pem or key\.pem"):
        address()


def test_keys_that_the_variables_ask_for_and_that_are_missing_are_named(
    config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOCKER_HOST", "tcp://127.0.0.1:1")
    monkeypatch.setenv("DOCKER_CERT_PATH", str(config))
    with pytest.raises(DeploymentError, match=f"the keys for the engine at tcp://127.0.0.1:1 are not in {config}"):
        connect()


def test_what_is_wrong_with_the_configuration_is_told(config: Path) -> None:
    assert doubts() == []
    write_config(config, credsStore="fourfold-none", credHelpers={"ghcr.io": "fourfold-other", "quay.io": 5})
    assert [doubt.partition(" names ")[2].partition(",")[0] for doubt in doubts()] == [
        f"docker-credential-{name}" for name in ("5", "fourfold-none", "fourfold-other")
    ]
    write_config(config, credHelpers=5)
    assert doubts() == []
    (config / "config.json").write_text("{nope")
    (said,) = doubts()
    assert "config.json can't be read, and its context and logins are not used" in said
    (config / "config.json").unlink()
    (config / "config.json").mkdir()
    assert len(doubts()) == 1


@pytest.mark.engine
@pytest.mark.parametrize("content", ["[]", '{"proxies": 5}', '{"auths": 5}'])
def test_a_config_that_docker_py_can_not_use_is_named(config: Path, content: str) -> None:
    (config / "config.json").write_text(content)
    with pytest.raises(DeploymentError, match=r"config\.json can't be used \(.*\); repair or remove it"):
        connect()
