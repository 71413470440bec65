"""What Fourfold's options may be, on the command line and in the web UI's form."""

from __future__ import annotations

from argparse import ArgumentTypeError
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from _replicas import host_argument

from runfiles.spikes import Spike, why_overlap

import _options


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("http://127.0.0.1:5000", "http://127.0.0.1:5000"),
        ("http://127.0.0.1:5000/", "http://127.0.0.1:5000"),
        ("http://127.0.0.1:5000///", "http://127.0.0.1:5000"),
        (" http://127.0.0.1:5000/ \n", "http://127.0.0.1:5000"),
        ("127.0.0.1:5000", "http://127.0.0.1:5000"),
        ("localhost:5000/", "http://localhost:5000"),
        ("localhost", "http://localhost"),
        ("HTTPS://Example.org/api/", "https://example.org/api"),
        ("http://[::1]:5000/", "http://[::1]:5000"),
        ("[::1]:5000", "http://[::1]:5000"),
        ("::1", "http://[::1]"),
    ],
)
def test_a_host_is_a_url_without_a_slash_at_its_end(text: str, url: str) -> None:
    assert host_argument(text) == url


@pytest.mark.parametrize(
    "text",
    [
        *("", " ", "/", "http://", "http:///", "http://:5000", "ftp://h", "file:///x", "http://h:99999", "http://h:-1"),
        *(
            "http://h:0",
            "http://h:abc",
            "http://a b",
            "http://[::1",
            "http://h?x=1",
            "http://h#x",
            "http://h\x00",
            "h\nh",
        ),
    ],
)
def test_what_is_no_host_is_refused(text: str) -> None:
    with pytest.raises(ArgumentTypeError, match="is not the address of a service"):
        host_argument(text)


@pytest.mark.parametrize(
    ("check", "good", "bad"),
    [
        (_options.seconds, ["0", "2", "1.5", "1e1", "-0"], ["nan", "inf", "-1", "x", "", "1e999", "1,5", "2s"]),
        (_options.interval, ["0.05", "1"], ["nan", "inf", "0", "-1", "0.01", "x", "", "-inf"]),
        (_options.count, ["1", "1000"], ["0", "-1", "many", "", "1.5", "9" * 30, "9" * 5000, "nan", "٣", "1_0"]),
        (_options.seed, ["0", "-5", "7"], ["", "x", "1.5", "9" * 30, "9" * 5000, "nan"]),
    ],
)
def test_a_number_is_a_number_of_its_kind(check: Callable[[str], Any], good: list[str], bad: list[str]) -> None:
    for text in good:
        assert check(text) == float(text)
    for text in bad:
        with pytest.raises(ArgumentTypeError, match="is not a"):
            check(text)


def test_a_spike_is_three_numbers() -> None:
    assert _options.spike(" 10:3.0:5 ") == "10:3:5"
    for text in ("", "10", "10:3", "10:3:5:1", "10:1:5", "10:101:5", "-1:3:5", "nan:3:5", "inf:3:5", "10:3:0", "x:3:5"):
        with pytest.raises(ArgumentTypeError, match="is not AT_S:TIMES:SECONDS, such as 10:3:5"):
            _options.spike(text)
    spikes = [Spike(20.0, 2, 1.0), Spike(10.0, 3, 10.0)]
    assert why_overlap(spikes) is None
    assert why_overlap([*spikes, Spike(19.0, 2, 0.5)]) == "the spike at 19 s begins before that at 10 s has ended"


def test_spikes_that_overlap_and_spikes_in_blocks_are_refused() -> None:
    given = {"reconnect_every": None, "repeat_s": 0.0, "live_changes": False, "blocks": None}
    agents = {"agents": None, "agents_token_file": None, "tasks_file": None}
    options = SimpleNamespace(**given, **agents, spike=["1:3:5", "2:3:5"])
    environment: Any = SimpleNamespace(parsed_options=options, user_classes=[], web_ui=None)
    assert "--spike can't be used: the spike at 2 s begins before" in str(_options.contradiction(environment))
    options.spike = ["1:3:5"]
    assert _options.contradiction(environment) is None
    options.blocks = "blocks.json"
    assert "--spike is for a load in one piece" in str(_options.contradiction(environment))


def test_a_seed_that_is_too_large_is_told_why() -> None:
    for text, expected in {"1.5": "is not a whole number$", "9" * 30: "is not a whole number of 64 bits"}.items():
        with pytest.raises(ArgumentTypeError, match=expected):
            _options.seed(text)


def test_a_prefix_that_can_not_be_written_is_refused_and_leaves_nothing(tmp_path: Path) -> None:
    assert _options.prefix(f"{tmp_path}/new/run") == f"{tmp_path}/new/run"
    assert list((tmp_path / "new").iterdir()) == []
    (tmp_path / "file").write_text("")
    (tmp_path / "taken_requests.csv").mkdir()
    for prefix in (f"{tmp_path}/file/run", f"{tmp_path}/taken", f"{tmp_path}/{'x' * 250}", f"{tmp_path}/\x00"):
        with pytest.raises(ArgumentTypeError, match="choose another prefix"):
            _options.prefix(prefix)


def test_of_a_form_what_can_be_used_is_used() -> None:
    at_start = {"warm_up": 5.0, "replica_interval": 0.25, "seed": 3, "replicas": "none", "requests": None}
    options = at_start | {"run_time": 10, "num_users": 1}
    form = {
        "warm_up": "nan",
        "replica_interval": "",
        "seed": " 8 ",
        "replicas": "pod:x",
        "requests": "1.5",
        "run_time": "",
    }
    wrong = _options.take_fields(form | {"user_count": "x"}, options, at_start)
    assert options == at_start | {"seed": 8, "run_time": None, "num_users": 1}
    assert sorted(wrong) == [
        "replica interval of the web UI's form: the field was empty; 0.25 was used",
        "replicas of the web UI's form: 'pod:x'; expected auto, none, container:NAME, compose:PROJECT/SERVICE, "
        "swarm:SERVICE, process:PID or process:PID@ssh://USER@HOST; none was used",
        "requests of the web UI's form: '1.5' is not a whole number above 0; no limit was used",
        "warm up of the web UI's form: 'nan' is not a number of seconds, 0 or more; 5.0 was used",
    ]
    assert _options.take_fields({"requests": "7"}, options, at_start) == []
    assert options["requests"] == 7
