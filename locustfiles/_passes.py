"""A single pass that is repeated, so that there are enough samples of the replicas (option ``--repeat-s``)."""

from __future__ import annotations

import itertools
import logging
import time
from collections.abc import Iterator
from pathlib import Path

import gevent
from _blocks import Block

from runfiles.events import MEASURED

from _recording import Recording
from _visits import Visits

LONGEST_WAIT_S = 30.0
POLL_S = 0.02

logger = logging.getLogger("fourfold")


def repeated_passes(recording: Recording, visits: Visits, repeat_s: float, marker: Path) -> Iterator[int]:
    """The passes over all texts, from 1, until they took ``repeat_s`` together. Each is a block of the recording.

    After the first pass ``marker`` is made, and the second begins when somebody has removed it: until then the service
    gets no request, and its own file of the first pass can be copied.
    """
    spent_s = 0.0
    for number in itertools.count(1):
        visits.begin_pass(number)
        block = Block(number, cycle=number, began_at_unix_s=time.time(), phase=MEASURED)
        recording.begin_block(block)
        block.measured_from_unix_s = time.time()
        recording.sample_now()
        yield number
        recording.sample_now()
        block.measured_to_unix_s = block.ended_at_unix_s = time.time()
        recording.end_block(block)
        spent_s += block.measured_to_unix_s - block.measured_from_unix_s
        if number == 1:
            recording.files.flush()  # whoever copies the service's file compares its rows with those of the requests
            _wait_until_removed(marker)
        if spent_s >= repeat_s:
            return


def _wait_until_removed(marker: Path) -> None:
    try:
        marker.touch()
        with gevent.Timeout(LONGEST_WAIT_S, False):
            while marker.exists():
                gevent.sleep(POLL_S)
            return
        logger.warning("nobody removed %s within %g s; the passes go on", marker, LONGEST_WAIT_S)
    except OSError as error:
        logger.warning("%s could not be made (%s); the passes go on", marker, error.strerror)
    finally:
        marker.unlink(missing_ok=True)
