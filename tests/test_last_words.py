"""The last words of a service or a program: one line that is safe in a terminal and in a record."""

from __future__ import annotations

from pathlib import Path

import pytest

from infra.last_words import last_build_error, last_error, last_line, tail
from runfiles.lines import tidy


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ("", "(none)"),
        ("one\ntwo\n", "two"),
        ("it broke\n\n \n\x1b[0m\n", "it broke"),
        ("\x1b[31mred\x1b[0m \x1b]0;title\x07and\a \x1b[2J\x1b[Hmore", "red and more"),
        ("\x1b]0;never closed", "(none)"),
        ("10%\r50%\r100%", "100%"),
        ("tab\there\0\x08\x7f\u202eend", "tab here end"),
        ("\udcff", "(none)"),
    ],
)
def test_they_are_one_line_that_can_be_shown(said: str, expected: str) -> None:
    assert last_line(said) == expected


def test_they_are_short(tmp_path: Path) -> None:
    assert tidy("x" * 10**6) == "x" * 300 + " ..."
    log = tmp_path / "service.log"
    log.write_bytes(b"y" * 10**7 + b"\nz" + b"\xff" * 10**6)
    assert len(tail(log)) < 10**5
    assert len(last_line(tail(log))) < 400
    assert tail(tmp_path / "not-there") == ""


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ("[2026] vm/ERROR/locust.main: No such class\n[2026] vm/INFO/locust.main: Shutting down", "No such class"),
        ("usage: locust\nlocust: error: unrecognized arguments: --x\n\n", "unrecognized arguments: --x"),
        ("Traceback\n  raise\nOSError: [Errno 28] No space left on device\nName  # reqs\n", "No space left on device"),
        ("# occurrences      Error\n 3  POST /infer", "3 POST /infer"),
        ("#5 ERROR: exit code: 1\n------\n > [2/9] RUN x:", "#5 ERROR: exit code: 1"),
        ("all is well\n", "all is well"),
    ],
)
def test_a_line_that_states_an_error_says_more_than_the_last_one(said: str, expected: str) -> None:
    assert last_error(said).endswith(expected)


STEP = """#8 0.909 ERROR: No matching distribution found for flask
#8 ERROR: process "/bin/sh -c pip install -r requirements.txt" did not complete successfully: exit code: 1
------
 > [3/5] RUN pip install -r requirements.txt:
{}------
Dockerfile:4
--------------------
   4 | >>> RUN pip install -r requirements.txt
--------------------
ERROR: failed to solve: process "/bin/sh -c pip install" did not complete successfully: exit code: 1
"""


@pytest.mark.parametrize(
    ("shown", "expected"),
    [
        (
            "0.892 Looking in links\n0.909 ERROR: No matching distribution found for flask\n",
            "ERROR: No matching distribution found for flask",
        ),
        ("12.5 gcc: not found\n", "gcc: not found"),
        ("", 'ERROR: failed to solve: process "/bin/sh -c pip install" did not complete successfully: exit code: 1'),
    ],
)
def test_of_a_build_the_step_says_why_it_failed(shown: str, expected: str) -> None:
    assert last_build_error(STEP.format(shown)) == expected
    assert last_build_error("#3 ERROR: no such image\n") == "#3 ERROR: no such image"
