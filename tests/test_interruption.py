"""Ctrl-C and SIGTERM at moments at which no experiment runs yet, or runs no more."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest
from conftest import ROOT

TRACEBACK = "Traceback"

WHILE_LOCKED = """
import os, signal, sys, time
import infra.__main__, infra.experiment.experiment

def run_new(*_):
    try:
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(20)
    finally:
        print("unlocked")

infra.experiment.experiment.run_new = run_new
sys.argv = ["infra", "run", "--only", "host"]
sys.exit(infra.__main__.main())
"""
"""An experiment that gets SIGTERM when it does not measure: it makes its page, or has only taken the locks."""


def take_ctrl_c() -> None:
    """What a shell starts in the background ignores Ctrl-C."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@pytest.mark.parametrize(
    ("command", "imported"), [(["infra", "doctor"], "docker"), (["analysis", "no-such-folder"], "numpy")]
)
def test_ctrl_c_while_modules_are_imported_ends_a_command_without_a_traceback(
    command: list[str], imported: str
) -> None:
    process = subprocess.Popen(
        [sys.executable, "-X", "importtime", "-m", *command],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=take_ctrl_c,  # noqa: PLW1509  it takes no lock
    )
    assert process.stderr is not None
    for line in process.stderr:  # a package's own modules come before it
        if line.strip().rpartition(" ")[2].startswith(f"{imported}."):
            process.send_signal(signal.SIGINT)
            break
    _, rest = process.communicate(timeout=30)
    assert process.returncode == -signal.SIGINT, rest
    assert TRACEBACK not in rest


def test_sigterm_while_nothing_is_measured_gives_the_locks_back() -> None:
    done = subprocess.run(
        [sys.executable, "-c", WHILE_LOCKED], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stdout) == (130, "unlocked\n"), done.stderr
