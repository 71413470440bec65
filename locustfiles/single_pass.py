"""``locust -f locustfiles/single_pass.py``: one user sends each text once, in order; then the run ends by itself.

With ``--repeat-s`` the pass over all texts is repeated. Only the first pass is printed.
"""

import sys
from contextlib import suppress

from locust import task
from locust.exception import StopUser

from _users import REVIEWS, ReviewUser


class SinglePassUser(ReviewUser):
    """Always one user, whatever --users says, so that the service's metrics file has the texts in order."""

    fixed_count = 1
    sends_each_text_once = True

    @task
    def infer_all(self) -> None:
        for pass_number in self.environment.fourfold.passes():
            for number, review in enumerate(REVIEWS, start=1):
                answer = self.ask(review)
                if pass_number == 1:
                    _show(f"Query {number}\n{_outcome(answer.status_code, answer.content)}\n")
        self.end_run()
        raise StopUser


def _outcome(status: int, content: bytes | None) -> str:
    """The answer's row without its header, or why there is no answer."""
    body = (content or b"").decode("utf-8", "replace")
    if status != 200:
        return f"failed with status {status}: {body or 'no answer'}"
    return body.partition("\n")[2].rstrip("\n")


def _show(text: str) -> None:
    """Print in any terminal's encoding. If the output can't be written (full disk, closed pipe), the pass goes on."""
    encoding = sys.stdout.encoding or "utf-8"
    with suppress(OSError):
        print(text.encode(encoding, "replace").decode(encoding), end="", flush=True)
