"""Each fault of ``benchmarks.faults``, briefly: what is promised holds."""

from __future__ import annotations

import pytest

from benchmarks.faults import faults
from benchmarks.faults_outcome import Fault

pytestmark = pytest.mark.faults


@pytest.mark.parametrize("fault", faults(), ids=lambda fault: fault.name)
def test_what_is_promised_holds(fault: Fault) -> None:
    lacking = fault.why_not()
    if lacking is not None:
        pytest.skip(lacking)
    outcome = fault.measure(True)
    print(dict(outcome.figures))
    assert not outcome.broken, outcome.broken
