"""What all user classes do: post a review to ``/infer`` and tell the recording about the connection."""

from __future__ import annotations

import itertools
import json
import time
import zlib
from collections.abc import Iterator
from typing import Any

from locust import FastHttpUser, events
from locust.contrib.fasthttp import FAILURE_EXCEPTIONS, ErrorResponse, FastResponse
from locust.env import Environment
from locust.exception import InterruptTaskSet, RescheduleTask, RescheduleTaskImmediately, StopTest, StopUser

from _listeners import ConnectionCount
from _texts import Review, in_order, read_reviews

REVIEWS = read_reviews()
HEADERS = {"Content-Type": "application/json", "Accept": "text/csv"}


class Answer(FastResponse):
    """Locust's response, with any body that can't be read or decoded reported as a failed request, and empty."""

    def _content(self) -> Any:
        try:
            return super()._content()
        except Exception as error:
            self._cached_content = b""
            self.release()  # or the user would run out of connections
            if isinstance(error, FAILURE_EXCEPTIONS):
                raise
            # brotli's own, or ValueError for an encoding that is unknown: Locust reports what it knows from gzip.
            raise zlib.error(f"the body can't be decoded: {error}") from error


class ReviewUser(FastHttpUser):
    """Posts reviews, one at a time and without pause: a closed workload.

    Locust's own client keeps its connection open for the next request; each request is counted as sent over a new
    connection or over one already open.
    """

    abstract = True
    extra_headers: dict[str, str] = {}

    def on_start(self) -> None:
        self._connections = ConnectionCount()
        self.client.client.response_type = Answer
        pool = self.client.client.clientpool.get_client(self.client.base_url)._connection_pool
        pool.after_connect = self._connections.count  # geventhttpclient's own hook, called for each new connection

    def ask(self, review: Review) -> Any:
        """Post one review and return Locust's response."""
        body = json.dumps({"text": review.text}, ensure_ascii=False).encode()
        self._connections.opened = 0
        context = {"text_id": review.id, "request_bytes": len(body), "connections": self._connections}
        began_unix_s, began_s = time.time(), time.perf_counter()
        try:
            return self.client.post("/infer", data=body, headers=HEADERS | self.extra_headers, context=context)
        except (InterruptTaskSet, RescheduleTask, RescheduleTaskImmediately, StopTest, StopUser):
            raise
        except Exception as error:  # what Locust's client does not expect of an answer; it was a request all the same
            self.environment.events.request.fire(
                request_type="POST",
                name="/infer",
                response_time=(time.perf_counter() - began_s) * 1000,
                response_length=0,
                response=None,
                context=context,
                exception=error,
                start_time=began_unix_s,
                url=f"{self.host}/infer",
            )
            return ErrorResponse(None, error)


class _Turn:
    """Whose turn it is: all users of a run take the next text of one endless round, so each is sent equally often."""

    reviews: Iterator[Review] = itertools.cycle(REVIEWS)


@events.test_start.add_listener
def begin_with_the_first_text(environment: Environment, **_: Any) -> None:
    _Turn.reviews = itertools.cycle(in_order(REVIEWS, environment.parsed_options.seed))


def next_review() -> Review:
    """The next text of the run."""
    return next(_Turn.reviews)
