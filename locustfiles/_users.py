"""What all user classes do: post reviews to ``/infer`` and report each request to Locust.

Importing this module makes Locust record its runs.
"""

from __future__ import annotations

import itertools
import sys
from pathlib import Path
from typing import Any

from locust import User, events
from locust.env import Environment
from locust.exception import StopTest

# Locust may be started in any folder. This one holds runfiles/ and addresses.py.
sys.path.append(str(Path(__file__).resolve().parents[1]))

from runfiles.events import ALL_TEXTS

from _client import Answer, Client
from _ending import end_run
from _listeners import Listeners
from _texts import Review, in_order, read_reviews

REVIEWS = read_reviews()
PATH = "/infer"
HEADERS = {"Content-Type": "application/json", "Accept": "text/csv"}


class ReviewUser(User):
    """Posts reviews, one at a time and without pause: a closed workload.

    It keeps a connection to each deployment that it visits, or with ``keeps_connection = False`` opens one per request.
    """

    abstract = True
    keeps_connection = True

    def __init__(self, environment: Environment) -> None:
        super().__init__(environment)
        self._clients: dict[str, Client] = {}
        if self.host:
            self._new_client(self.host)
        elif not getattr(environment.parsed_options, "blocks", None):
            raise StopTest("name the service to load, such as --host http://127.0.0.1:5000")

    def on_stop(self) -> None:
        for client in self._clients.values():
            client.close()

    def next_review(self) -> Review:
        """The next text of an endless round that all users share, so each text is sent equally often."""
        review: Review = next(self.environment.reviews)
        return review

    def end_run(self) -> None:
        """End the run: all texts have been sent."""
        end_run(self.environment, ALL_TEXTS)

    def ask(self, review: Review) -> Answer:
        """Post one review and return its answer. Locust's event ``request`` reports it."""
        visits = self.environment.fourfold.visits
        visit = visits.begin_request()
        try:
            host = visit.host or self.host
            client = self._clients.get(host) or self._new_client(host)
            answer = client.post(review.body)
            self.environment.events.request.fire(
                request_type="POST",
                name=visit.request_name,
                response_time=answer.response_time_ms,
                response_length=len(answer.content),
                response=answer,
                context={
                    "text_id": review.id,
                    "request_bytes": len(review.body),
                    "connection_reused": answer.connection_reused,
                    "block": visit.block,
                    "client_wait_ms": answer.client_wait_ms,
                    "retried": answer.retried,
                },
                exception=answer.error,
                start_time=answer.started_at_unix_s,
                url=client.url,
            )
        finally:
            visits.end_request(visit)
        return answer

    def _new_client(self, host: str) -> Client:
        client = self._clients[host] = Client(host, PATH, HEADERS, keeps_connection=self.keeps_connection)
        return client


@events.test_start.add_listener
def begin_with_the_first_text(environment: Environment, **_: Any) -> None:
    environment.reviews = itertools.cycle(in_order(REVIEWS, environment.parsed_options.seed))


Listeners().register(events)
