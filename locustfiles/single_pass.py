"""``locust -f locustfiles/single_pass.py``: one user sends each text once, in order; then the run ends by itself."""

import sys
from contextlib import suppress

from locust import task
from locust.exception import StopUser

from _listeners import end_run
from _users import REVIEWS, ReviewUser


class SinglePassUser(ReviewUser):
    """One user whatever number is asked for, so that the service's metrics file gets the texts in their order."""

    fixed_count = 1
    sends_each_text_once = True

    @task
    def infer_all(self) -> None:
        for number, review in enumerate(REVIEWS, start=1):
            answer = self.ask(review)
            _show(f"Query {number}\n{_outcome(answer.status_code, answer.content)}\n")
        end_run(self.environment)
        raise StopUser


def _outcome(status: int, content: bytes | None) -> str:
    """The answer's row without its header, or why there is none."""
    body = (content or b"").decode("utf-8", "replace")
    if status != 200:
        return f"failed with status {status}: {body or 'no answer'}"
    return body.partition("\n")[2].rstrip("\n")


def _show(text: str) -> None:
    """Print, whatever the terminal's encoding; where the output's disk is full or nobody reads it, the pass goes on."""
    encoding = sys.stdout.encoding or "utf-8"
    with suppress(OSError):
        print(text.encode(encoding, "replace").decode(encoding), end="", flush=True)
