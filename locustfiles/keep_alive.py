"""``locust -f locustfiles/keep_alive.py``: each user keeps one connection open and sends all its requests over it.

Swarm's ingress balances connections, not requests: each user stays with the replica that its connection reached. With
``--reconnect-every 100`` it opens a new connection after 100 requests, as the connection pools of real clients do.
"""

from locust import task

from _users import ReviewUser


class KeepAliveUser(ReviewUser):
    """Closed workload, one connection per user."""

    @task
    def infer(self) -> None:
        self.ask_next_text()
