"""``locust -f locustfiles/new_connection.py``: each request opens a connection of its own, as curl does.

Swarm's ingress balances connections: here it spreads every single request.
"""

from locust import task

from _users import ReviewUser, next_review


class NewConnectionUser(ReviewUser):
    """Closed workload, one connection a request; the time to open it is part of the response time."""

    extra_headers = {"Connection": "close"}

    @task
    def infer(self) -> None:
        self.ask(next_review())
