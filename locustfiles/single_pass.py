"""``locust -f locustfiles/single_pass.py``: one user sends each text once, in order; then the run ends by itself.

With ``--repeat-s`` the pass over all texts is repeated. Only the first pass is printed.
"""

from __future__ import annotations

import sys
from contextlib import suppress
from typing import TYPE_CHECKING

from locust import task
from locust.exception import StopUser

from _users import ReviewUser

if TYPE_CHECKING:  # _users comes first: it puts the project's folder on Python's path
    from _client import Answer


class SinglePassUser(ReviewUser):
    """Always one user, whatever --users says, so that the service's metrics file has the texts in order."""

    fixed_count = 1
    sends_each_text_once = True

    @task
    def infer_all(self) -> None:
        for pass_number in self.environment.fourfold.passes():
            for text in self.environment.fourfold.asked.requests:
                answer = self.ask(text)
                if pass_number == 1:
                    _show(f"Query {text.text_id}\n{_outcome(answer)}\n")
        self.end_run()
        raise StopUser


def _outcome(answer: Answer) -> str:
    """What the service answered, or why there is no answer. Of a CSV answer the header is left out."""
    body = answer.content.decode("utf-8", "replace")
    if answer.error is not None:
        return f"failed with status {answer.status_code}: {body or 'no answer'}"
    if answer.headers.get("content-type", "").startswith("text/csv"):
        body = body.partition("\n")[2]
    return body.rstrip("\n")


def _show(text: str) -> None:
    """Print in any terminal's encoding. If the output can't be written (full disk, closed pipe), the pass goes on."""
    encoding = sys.stdout.encoding or "utf-8"
    with suppress(OSError):
        print(text.encode(encoding, "replace").decode(encoding), end="", flush=True)
