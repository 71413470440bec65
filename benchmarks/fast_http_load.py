"""The load of keep_alive.py, sent by Locust's FastHttpUser: what benchmarks/instrument_client.py compares ours with.

The recording is the same, so that the difference is that of the clients.
"""

from __future__ import annotations

import sys
from pathlib import Path

from locust import FastHttpUser, task

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "locustfiles"))

from _users import HEADERS, PATH


class FastHttpReviewUser(FastHttpUser):
    """Closed workload, one connection per user."""

    @task
    def infer(self) -> None:
        review = next(self.environment.reviews)
        context = {"text_id": review.id, "request_bytes": len(review.body)}
        self.client.post(PATH, data=review.body, headers=HEADERS, context=context)
