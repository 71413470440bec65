"""``locust -f locustfiles/single_pass.py``: one user sends each text once, in order; then the run ends by itself."""

import sys

from locust import task
from locust.exception import StopUser

from _hook import end_run
from _users import REVIEWS, ReviewUser


class SinglePassUser(ReviewUser):
    """One user whatever number is asked for, so that the service's metrics file gets the texts in their order."""

    fixed_count = 1

    @task
    def infer_all(self) -> None:
        for number, review in enumerate(REVIEWS, start=1):
            answer = self.ask(review)
            _show(f"Query {number}\n{_outcome(answer.status_code, answer.text)}")
        end_run(self.environment, "all texts sent")
        raise StopUser


def _show(text: str) -> None:
    """Print what this terminal can show of a text; one without UTF-8 can't show every review."""
    encoding = sys.stdout.encoding or "utf-8"
    print(text.encode(encoding, "replace").decode(encoding), flush=True)


def _outcome(status: int, body: str | None) -> str:
    """The answer's row without its header, or why there is none."""
    if status != 200:
        return f"failed with status {status}: {body or 'no answer'}"
    return (body or "").partition("\n")[2].rstrip("\n")
