"""``locust -f locustfiles/new_connection.py``: each request opens its own connection, as curl does.

Swarm's ingress balances connections, so it balances these requests one by one.
"""

from locust import task

from _users import ReviewUser


class NewConnectionUser(ReviewUser):
    """Closed workload, one connection per request. The response time includes opening it."""

    keeps_connection = False

    @task
    def infer(self) -> None:
        self.ask_next_text()
