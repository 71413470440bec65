"""The environment variables of the service: what is accepted, what is refused, and where they are documented."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from conftest import ROOT

from inference import configuration
from inference.configuration import VARIABLES, Variable, WrongValue, read_configuration

BY_NAME = {variable.name: variable for variable in VARIABLES}


@pytest.fixture(autouse=True)
def nothing_set(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in BY_NAME:
        monkeypatch.delenv(name, raising=False)


def test_the_defaults_are_those_that_are_documented(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("socket.gethostname", lambda: "not asked again")
    monkeypatch.setenv("HOME", str(tmp_path))
    found = read_configuration()
    assert (found.host, found.port, found.metrics_file) == ("0.0.0.0", 5000, Path("system_inference_metrics.csv"))
    assert (found.model, found.engine, found.device, found.queue_limit) == ("auto", "auto", "auto", 256)
    assert found.replica == configuration.REPLICA_NAME.default != "not asked again"
    assert configuration.XDG_CACHE_HOME.read() == tmp_path / ".cache"


def test_an_empty_variable_is_as_good_as_none(monkeypatch: pytest.MonkeyPatch) -> None:
    expected = read_configuration()
    for name in BY_NAME:
        monkeypatch.setenv(name, "")
    assert read_configuration() == expected


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("HOST", "[::1]", "::1"),
        ("HOST", "localhost", "localhost"),
        ("PORT", "65535", 65535),
        ("INFERENCE_QUEUE", "1", 1),
        ("INFERENCE_ENGINE", "torch", "torch"),
        ("INFERENCE_DEVICE", "cuda", "cuda"),
        ("INFERENCE_MODEL", "some/model", "some/model"),
        ("METRICS_LOG_FILE", "/dev/null", Path("/dev/null")),
        ("REPLICA_NAME", "replica 7", "replica 7"),
        ("XDG_CACHE_HOME", "cache", Path("cache")),
    ],
)
def test_what_is_set_is_read(monkeypatch: pytest.MonkeyPatch, name: str, text: str, expected: Any) -> None:
    monkeypatch.setenv(name, text)
    assert BY_NAME[name].read() == expected


REFUSED = [
    ("HOST", "no.such.host.invalid", "is not an address ("),
    ("HOST", "x" * 64, "expected an address or a name of this machine, or 0.0.0.0 for all its addresses"),
    *(("PORT", text, "is not a port; expected a number from 1 to 65535") for text in ("none", "0", "-1", "65536", "٣")),
    ("PORT", "9" * 5000, "is not a port; expected a number from 1 to 65535"),
    *(
        ("INFERENCE_QUEUE", text, "is not a number of texts that may wait; expected a number from 1 to 999999999")
        for text in ("0", "-1", "many", "9" * 5000)
    ),
    ("INFERENCE_ENGINE", "fast", "is none of auto, onnx, torch"),
    ("INFERENCE_DEVICE", "tpu", "is none of auto, cpu, cuda"),
    ("REPLICA_NAME", "réplique", "goes into a header; expected printable ASCII characters"),
]


@pytest.mark.parametrize(("name", "text", "expected"), REFUSED)
def test_what_can_not_be_used_is_refused(monkeypatch: pytest.MonkeyPatch, name: str, text: str, expected: str) -> None:
    monkeypatch.setenv(name, text)
    for read in (BY_NAME[name].read, read_configuration):
        with pytest.raises(WrongValue, match="^" + re.escape(f"{name}={text} ")) as error:
            read()
        assert expected in str(error.value)


def test_a_message_is_one_line_whatever_the_value(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REPLICA_NAME", "a\nb")
    with pytest.raises(WrongValue, match=r"^REPLICA_NAME='a\\nb' goes into a header"):
        read_configuration()


def test_without_a_home_directory_there_is_no_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_home(path: Path) -> Path:
        raise RuntimeError

    monkeypatch.setattr(Path, "expanduser", no_home)
    assert configuration.XDG_CACHE_HOME.read() is None


def test_the_configuration_alone_reads_the_environment() -> None:
    """The ONNX engine sets a variable each of ONNX Runtime and of the tokenizers' library, and reads none."""
    for path in (ROOT / "inference").rglob("*.py"):
        found = [
            node.attr
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
            if isinstance(node, ast.Attribute) and node.attr in ("environ", "environb", "getenv", "getenvb")
        ]
        expected = {"configuration.py": ["environ"], "onnx_engine.py": ["environ"] * 2}.get(path.name, [])
        assert found == expected, path


def test_all_variables_are_in_the_table() -> None:
    named = [value for value in vars(configuration).values() if isinstance(value, Variable)]
    assert named == list(VARIABLES)


def test_the_documentation_lists_the_variables_of_the_table() -> None:
    text = (ROOT / "docs" / "service.md").read_text(encoding="utf-8")
    table = text[text.index("<!-- variables: inference/configuration.py -->") :].split("\n\n")[0]
    documented = re.findall(r"^\| `(\w+)` \| (.+) \| (.+) \|$", table, re.MULTILINE)
    plain = [(name, default.replace("`", ""), meaning.replace("`", "")) for name, default, meaning in documented]
    assert plain == [(variable.name, variable.documented_default, variable.meaning) for variable in VARIABLES]


@pytest.mark.parametrize(
    ("module", "names"),
    [("inference", list(BY_NAME)), ("inference.fetch", ["INFERENCE_MODEL", "INFERENCE_ENGINE", "XDG_CACHE_HOME"])],
)
def test_help_lists_the_variables_with_their_defaults(module: str, names: list[str]) -> None:
    command = [sys.executable, "-m", module, "--help"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True, timeout=60)
    listed = done.stdout.partition("environment variables:\n")[2]
    assert re.findall(r"^  (\w+)", listed, re.MULTILINE) == names
    words = " ".join(listed.split())
    for name in names:
        variable = BY_NAME[name]
        assert f"{name} {variable.meaning} (default: {variable.documented_default})" in words


def test_the_health_check_has_the_same_default_port() -> None:
    script = (ROOT / "inference" / "health.sh").read_text()
    assert f"${{PORT:-{configuration.PORT.default}}}" in script
