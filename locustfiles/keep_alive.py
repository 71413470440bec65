"""``locust -f locustfiles/keep_alive.py``: each user keeps its connection and sends its requests over it.

Swarm's ingress balances connections, not requests: here a user stays with the replica it met first.
"""

from locust import task

from _users import ReviewUser, next_review


class KeepAliveUser(ReviewUser):
    """Closed workload, one connection a user."""

    @task
    def infer(self) -> None:
        self.ask(next_review())
