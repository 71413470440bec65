"""Each fault of ``benchmarks.faults``, briefly: what is promised holds."""

from __future__ import annotations

import pytest

from benchmarks.faults import faults
from benchmarks.faults_outcome import Fault

pytestmark = pytest.mark.faults

QUICK = "metrics-file"
"""It runs with all other tests; the rest with ``-m faults``."""


def marked(fault: Fault) -> object:
    return pytest.param(fault, id=fault.name, marks=() if fault.name == QUICK else pytest.mark.slow)


@pytest.mark.parametrize("fault", [marked(fault) for fault in faults()])
def test_what_is_promised_holds(fault: Fault) -> None:
    lacking = fault.why_not()
    if lacking is not None:
        pytest.skip(lacking)
    outcome = fault.measure(True)
    print(dict(outcome.figures))
    assert not outcome.broken, outcome.broken
