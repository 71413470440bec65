"""What all user classes do: post reviews to ``/infer`` and say whether each was sent over a new connection.

Importing this module makes Locust record its runs.
"""

from __future__ import annotations

import itertools
import json
import sys
import time
import zlib
from pathlib import Path
from typing import Any

from locust import FastHttpUser, events
from locust.contrib.fasthttp import FAILURE_EXCEPTIONS, ErrorResponse, FastResponse
from locust.env import Environment
from locust.exception import InterruptTaskSet, RescheduleTask, RescheduleTaskImmediately, StopTest, StopUser

# Locust may be started in any folder. This one holds runfiles/ and addresses.py.
sys.path.append(str(Path(__file__).resolve().parents[1]))

from _visits import Visit

from runfiles.events import ALL_TEXTS

from _ending import end_run
from _listeners import Listeners
from _request_row import ConnectionCount
from _texts import Review, in_order, read_reviews

REVIEWS = read_reviews()
HEADERS = {"Content-Type": "application/json", "Accept": "text/csv"}


class Answer(FastResponse):
    """Locust's response. If its body can't be read or decoded, it is empty and the request is reported as failed."""

    def _content(self) -> Any:
        try:
            return super()._content()
        except Exception as error:
            self._cached_content = b""
            self.release()  # or the user would run out of connections
            if isinstance(error, FAILURE_EXCEPTIONS):
                raise
            # brotli's own error, or ValueError for an unknown encoding. Locust reports zlib.error, which gzip raises.
            raise zlib.error(f"the body can't be decoded: {error}") from error


class ReviewUser(FastHttpUser):
    """Posts reviews, one at a time and without pause: a closed workload.

    Locust's own client keeps its connection open for the next request.
    """

    abstract = True
    extra_headers: dict[str, str] = {}

    def on_start(self) -> None:
        self._connections = ConnectionCount()
        self.client.client.response_type = Answer
        self._counted: set[str] = set()

    def next_review(self) -> Review:
        """The next text of an endless round that all users share, so each text is sent equally often."""
        review: Review = next(self.environment.reviews)
        return review

    def end_run(self) -> None:
        """End the run: all texts have been sent."""
        end_run(self.environment, ALL_TEXTS)

    def ask(self, review: Review) -> Any:
        """Post one review and return Locust's response."""
        visits = self.environment.fourfold.visits
        visit = visits.begin_request()
        try:
            return self._ask(review, visit)
        finally:
            visits.end_request(visit)

    def _ask(self, review: Review, visit: Visit) -> Any:
        if visit.host not in self._counted:
            self._counted.add(visit.host)
            pool = self.client.client.clientpool.get_client(visit.host)._connection_pool
            pool.after_connect = self._connections.count  # geventhttpclient's own hook, called for each new connection
        url = f"{visit.host}/infer"
        body = json.dumps({"text": review.text}, ensure_ascii=False).encode()
        self._connections.opened = 0
        context = {
            "text_id": review.id,
            "request_bytes": len(body),
            "connections": self._connections,
            "block": visit.block,
        }
        began_unix_s, began_s = time.time(), time.perf_counter()
        try:
            return self.client.post(
                url, name=visit.request_name, data=body, headers=HEADERS | self.extra_headers, context=context
            )
        except (InterruptTaskSet, RescheduleTask, RescheduleTaskImmediately, StopTest, StopUser):
            raise
        except Exception as error:  # an answer that Locust's client does not expect still counts as a failed request
            self.environment.events.request.fire(
                request_type="POST",
                name=visit.request_name,
                response_time=(time.perf_counter() - began_s) * 1000,
                response_length=0,
                response=None,
                context=context,
                exception=error,
                start_time=began_unix_s,
                url=url,
            )
            return ErrorResponse(None, error)


@events.test_start.add_listener
def begin_with_the_first_text(environment: Environment, **_: Any) -> None:
    environment.reviews = itertools.cycle(in_order(REVIEWS, environment.parsed_options.seed))


Listeners().register(events)
