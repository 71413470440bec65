"""A closed load with pauses: each user waits before each request, as the machine-repairman model says.

The pauses are exponential with a mean of 100 ms. benchmarks/queueing.py compares it with theory.
"""

from __future__ import annotations

import itertools
import random
import sys
from pathlib import Path

from locust import task
from locust.env import Environment

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "locustfiles"))

from benchmarks.queueing_cases import THINK_MS

from _users import ReviewUser

numbers = itertools.count()


class ThinkingUser(ReviewUser):
    """Closed workload, one connection per user, a pause before each request but the first."""

    def __init__(self, environment: Environment) -> None:
        super().__init__(environment)
        self._chance = random.Random(f"{environment.parsed_options.seed}/{next(numbers)}")  # noqa: S311  no secret

    def wait_time(self) -> float:
        return self._chance.expovariate(1000 / THINK_MS)

    @task
    def infer(self) -> None:
        self.ask_next_text()
