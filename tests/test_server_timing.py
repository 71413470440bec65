"""Server-Timing headers, as services of any make write them."""

from __future__ import annotations

import time

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from _server_timing import _by_the_grammar, _plain, server_timing

NAMES = st.sampled_from(["queue", "inference", "my-name", "é", "", " queue", "a_1", "1a"])
NUMBERS = st.one_of(
    st.floats(allow_nan=True).map(str),
    st.text('0123456789.eE+-_ ٣²"', max_size=6),
    st.sampled_from(["0", "12.25", ".5", "5.", "9" * 19, "9" * 400, "1.2.3", ".", "1e3"]),
)
METRICS = st.tuples(NAMES, st.sampled_from([";dur=", "; dur=", ";DUR=", ";desc=x;dur=", ""]), NUMBERS).map("".join)


@pytest.mark.parametrize(
    ("header", "durations"),
    [
        ("queue;dur=0.3, inference;dur=12.25", {"queue": 0.3, "inference": 12.25}),
        ("queue ; dur = 2 ,inference;desc=x;dur=3", {"queue": 2, "inference": 3}),
        ('queue;desc="a,b;dur=9";dur=2', {"queue": 2}),
        (r'queue;desc="say \"dur=9\"";dur=2', {"queue": 2}),
        ('queue;dur="1.5"', {"queue": 1.5}),
        ("queue;DUR=1", {"queue": 1}),
        ("queue;dur=1;dur=2, queue;dur=3", {"queue": 1}),
        ("queue;dur=x, queue;dur=3", {"queue": 3}),
        ("my-name.x;dur=1e3", {"my-name.x": 1000}),
        ("queue;dur=.5, inference;dur=5.", {"queue": 0.5, "inference": 5}),
        ("queue", {}),
        ("queue;dur", {}),
        ("queue;dur=", {}),
        ('queue;desc="never closed;dur=1', {}),
        ("", {}),
        (";", {}),
        (",;=,", {}),
        ('"', {}),
    ],
)
def test_durations_are_read_by_the_headers_grammar(header: str, durations: dict[str, float]) -> None:
    assert server_timing(header) == durations


@pytest.mark.parametrize("said", ["1.2.3", "nan", "inf", "-1", "1e400", "0x1p3", "1_000", "5ms", "٣", "--1", "e"])
def test_what_is_no_number_is_not_said(said: str) -> None:
    assert server_timing(f"x;dur={said}, y;dur=1") == {"y": 1}


def test_a_hostile_header_is_read_in_no_time() -> None:
    began = time.process_time()
    for header in ('"' * 60_000, '"\\' * 30_000, "a;" * 30_000, "a;dur=1," * 8_000, ("a;x=" + '"b' * 9) * 2_000):
        server_timing(header)
    assert time.process_time() - began < 5


@given(st.tuples(st.lists(METRICS, max_size=4), st.sampled_from([", ", ",", " , "])).map(lambda it: it[1].join(it[0])))
@example("queue;dur=0.3, inference;dur=12.25")
@example("queue;dur=1, queue;dur=2")
@example("queue;dur=²")
def test_the_short_way_reads_what_the_grammar_reads(header: str) -> None:
    assert server_timing(header) == _by_the_grammar(header)


def test_what_our_service_says_is_read_the_short_way() -> None:
    assert _plain("queue;dur=0.077, inference;dur=4.392") == {"queue": 0.077, "inference": 4.392}
