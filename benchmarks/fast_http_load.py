"""The load of keep_alive.py, sent by Locust's FastHttpUser: what benchmarks/instrument_client.py compares ours with.

The recording is the same, so that the difference is that of the clients.
"""

from __future__ import annotations

import sys
from pathlib import Path

from locust import FastHttpUser, task

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "locustfiles"))

import _users  # noqa: F401  it makes Locust record the run


class FastHttpReviewUser(FastHttpUser):
    """Closed workload, one connection per user."""

    @task
    def infer(self) -> None:
        text = next(self.environment.texts)
        context = {"text_id": text.text_id, "request_bytes": len(text.body)}
        headers = self.environment.fourfold.asked.service.request.headers
        self.client.post(text.target.decode(), data=text.body, headers=headers, context=context)
