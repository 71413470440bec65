"""How a run ends: a user ends it, a signal or the end of standard input; and how Locust then ends undisturbed."""

from __future__ import annotations

import logging
import os
import signal
import sys
import time
from contextlib import suppress
from typing import Any

import gevent
from gevent.os import make_nonblocking, nb_read
from locust.env import Environment

FINISH_WITHIN_S = 30.0
"""How long an interrupted run may take to write its files. Until then a further Ctrl-C or SIGTERM is ignored."""

END_RUN = "fourfold_end_run"
"""The message with which a user ends the run. Its data is the reason."""

logger = logging.getLogger("fourfold")


def end_run(environment: Environment, reason: str) -> None:
    """End the run from within a user: the whole process if Locust is headless, only the run under the web UI.

    ``reason`` is one of those in ``runfiles.events``. A worker sends it to its master; Locust without workers has a
    runner that sends it to itself.
    """
    if environment.runner is not None:
        environment.runner.send_message(END_RUN, reason)


def stop_or_quit(environment: Environment) -> None:
    """End the run under the web UI, or the whole process if Locust is headless. Returns at once."""
    runner = environment.runner
    gevent.spawn(runner.stop if environment.web_ui else runner.quit)


def end_with_stdin() -> None:
    """Send this process SIGTERM when standard input ends.

    Locust handles SIGTERM before it starts a user. Until then the signal just ends the process.
    """
    stdin = sys.stdin.fileno()
    make_nonblocking(stdin)
    while nb_read(stdin, 4096):
        pass
    logger.warning("the program that started this run has ended, so the run ends too")
    os.kill(os.getpid(), signal.SIGTERM)


def handle_ctrl_c() -> None:
    """Have Ctrl-C reach Locust between two events.

    Python alone would raise KeyboardInterrupt in the middle of any code. If that code were receiving a worker's report,
    its rows or Locust's own counts would be lost.
    """
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        gevent.signal_handler(signal.SIGINT, _interrupt)


def _interrupt() -> None:
    ignore_signals_while_finishing()
    hub = gevent.get_hub()
    hub.loop.run_callback(hub.parent.throw, KeyboardInterrupt)


def ignore_signals_while_finishing() -> None:
    """Ignore further signals for ``FINISH_WITHIN_S``: they would end the process before its files are written."""
    until_s = time.monotonic() + FINISH_WITHIN_S

    def ignore(number: int, _frame: Any) -> None:
        if time.monotonic() > until_s:
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
        with suppress(OSError):
            os.write(2, b"the run is being finished; please wait\n")  # a logger may be in the middle of a line

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, ignore)


def ignore_signals_to_the_end(**_: Any) -> None:
    """Keep Locust's exit code. A listener to ``quit``.

    Locust closes its own files after this event, and Python removes its signal handlers as it ends. From then on a
    signal would end the process with an exit code of its own.
    """
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    signal.alarm(int(FINISH_WITHIN_S))  # in case something hangs


def forget_unwritable_output(**_: Any) -> None:
    """Keep Locust's exit code if the log can't be written, as on a full disk. A listener to ``quit``.

    Python flushes both streams as it ends, and would end with an exit code of its own if that failed.
    """
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
