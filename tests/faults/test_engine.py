"""What the faults of replicas, the engine and texts are judged by."""

from __future__ import annotations

import tomllib
from dataclasses import replace

import pytest

from benchmarks.faults_engine import Watched, broken_by
from benchmarks.faults_swarm import Lost, answers_again, lost_of, plan_with
from benchmarks.faults_text import KINDS
from benchmarks.hostile_output import look_at_csv, look_at_html, look_at_junit, look_at_markdown, look_at_terminal
from benchmarks.plain_client import Asked
from infra.experiment.changes import changes_of
from runfiles.events import ENGINE_ANSWERS, ENGINE_SILENT

MARK = "zq0001qz"


def sample(at: float, cpu_seconds: float, cpu_percent: str = "20", net: str = "9000") -> dict[str, str]:
    rates = {"cpu_percent": cpu_percent, "net_rx_bytes_per_s": net, "net_tx_bytes_per_s": "100"}
    return {"sampled_at_unix_s": str(at), "cpu_seconds": str(cpu_seconds)} | rates


WATCHED = Watched(
    counted=100,
    failed=0,
    rows=100,
    events=((10.0, ENGINE_SILENT), (18.0, ENGINE_ANSWERS)),
    samples=(sample(5, 1, ""), sample(6, 1.2), sample(19, 4, ""), sample(20, 4.2)),
)


def test_an_engine_that_was_away_leaves_a_gap_and_no_spike() -> None:
    assert WATCHED.gaps == [(10.0, 18.0)]
    assert list(broken_by(WATCHED, kills=1, cores=2)) == []


@pytest.mark.parametrize(
    ("watched", "said"),
    [
        (replace(WATCHED, failed=3), "3 of 100 requests failed"),
        (replace(WATCHED, rows=99), "99 rows were recorded of 100 requests"),
        (replace(WATCHED, events=WATCHED.events[:1]), "0 of 1 gaps are in the events"),
        (replace(WATCHED, samples=WATCHED.samples[:2]), "not sampled after a gap"),
        (replace(WATCHED, samples=(*WATCHED.samples, sample(21, 5, "201"))), "201% CPU, and there are 2 processors"),
        (replace(WATCHED, samples=(*WATCHED.samples, sample(21, 5, net="27001"))), "network: the rate after a gap"),
        (replace(WATCHED, samples=(*WATCHED.samples, sample(21, 3))), "the CPU time fell"),
    ],
)
def test_what_an_engine_may_not_do_is_said(watched: Watched, said: str) -> None:
    assert any(said in why for why in broken_by(watched, kills=1, cores=2))


def test_lost_requests_are_told_apart_by_when_they_were_sent() -> None:
    asked = [
        *(Asked(at, at + 0.1, True) for at in (1.0, 2.0, 8.0, 9.5)),
        *(Asked(at, at + 0.5, False) for at in (2.9, 3.5, 4.0, 9.0)),
    ]
    assert answers_again(asked) == 8.1
    assert lost_of(asked, killed_unix_s=3.0, whole_unix_s=8.1) == Lost(in_flight=1, while_down=2, later=1)
    assert answers_again([Asked(1.0, 1.1, True)]) is None


def test_a_change_is_repeated_with_all_that_it_needs() -> None:
    found = changes_of(tomllib.loads(plan_with("kill_one", 2, 40))["changes"])
    assert [(change.at_s, change.action, change.replica) for change in found] == [(10, "kill", 1), (50, "kill", 1)]


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "1 MB"])
def test_a_hostile_text_that_gets_through_is_seen_somewhere(kind: str) -> None:
    text = KINDS[kind](MARK)
    html = f"<p>{text}</p>"
    looks = [look_at_terminal(text), look_at_html(html), look_at_markdown(text), look_at_csv(f"{text}\r\n")]
    is_harmless = kind in ("template", "Rich")  # nothing here reads it
    assert any(found.through for found in looks) != is_harmless
    assert MARK in {mark for found in looks for mark in found.marks}


def test_a_text_that_stayed_one_is_found_and_not_refused() -> None:
    html = look_at_html(f'<td title="{MARK} =1+1">&lt;script&gt;{MARK}&lt;/script&gt;</td><script>let a = 1;</script>')
    assert (html.marks, html.through) == ({MARK}, [])
    assert look_at_csv(f"a,'=1+{MARK},-2.5\r\n").through == []
    assert look_at_junit(f"<testsuites>&lt;b&gt;{MARK}</testsuites>").through == []
    assert look_at_junit(f"<testsuites><b>{MARK}</b></testsuites>").through != []
    assert look_at_markdown(rf"\[{MARK}\](x) \<b\>").through == []
