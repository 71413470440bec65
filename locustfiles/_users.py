"""What all user classes do: send texts to the service and report each request to Locust.

Importing this module makes Locust record its runs.
"""

from __future__ import annotations

import itertools
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from locust import User, events
from locust.env import Environment
from locust.exception import InterruptTaskSet, RescheduleTask, RescheduleTaskImmediately, StopTest, StopUser

# Locust may be started in any folder. This one holds runfiles/, servicefile/ and addresses.py; it comes before packages
# that others have installed under these names.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from runfiles.events import ALL_TEXTS
from servicefile.texts import TextRequest

from _client import Answer, Client
from _ending import end_run
from _exchange import Exchange, new_client, report, url_of
from _listeners import Listeners


class ReviewUser(User):
    """Sends review texts, one at a time and without pause: a closed workload.

    It keeps a connection to each deployment that it visits, or with ``keeps_connection = False`` opens one per request.
    A class that has its own ``on_stop`` calls ``super().on_stop()`` in it.
    """

    abstract = True
    keeps_connection = True

    def __init__(self, environment: Environment) -> None:
        super().__init__(environment)
        self._asked = environment.fourfold.asked
        self._clients: dict[str, Client] = {}
        self._unreported: Exchange | None = None
        self._steering: Exception | None = None
        if self.host:
            self._new_client(self.host)
        elif not getattr(environment.parsed_options, "blocks", None):
            raise StopTest("name the service to load, such as --host http://127.0.0.1:5000")

    def on_stop(self) -> None:
        self._report_last()
        for client in self._clients.values():
            client.close()

    def next_text(self) -> TextRequest:
        """The next text of an endless round that all users share, so each text is sent equally often."""
        text: TextRequest = next(self.environment.texts)
        return text

    def end_run(self) -> None:
        """End the run: all texts have been sent."""
        end_run(self.environment, ALL_TEXTS)

    def ask(self, text: TextRequest) -> Answer:
        """Send one text and return its answer. Locust's event ``request`` reports it."""
        exchange = self._send(text)
        report(self.environment, exchange)
        return exchange.answer

    def ask_next_text(self) -> None:
        """The task of a closed workload without pause: send the next text, and come again at once.

        Statistics and recording take about as long as the rest of a request. So a request is reported while the service
        works on the next one, and no service waits for it. Locust's pause of 0 s is left out too. After a request that
        failed there is neither, nor if the class has a ``wait_time`` of its own.

        Raises:
            RescheduleTaskImmediately: the next text may follow at once.
        """
        if type(self).wait_time is not User.wait_time:
            self.ask(self.next_text())
            return
        if not self.environment.fourfold.visits.is_on:
            self._report_last()
        exchange = self._send(self.next_text(), while_waiting=self._report_last)
        self._report_last()  # if nothing could be sent
        self._unreported = exchange
        if exchange.answer.error is not None or self._steering is not None:
            self._report_last()
            steering, self._steering = self._steering, None
            if steering is not None:
                raise steering
        else:
            raise RescheduleTaskImmediately

    def _send(self, text: TextRequest, while_waiting: Callable[[], None] | None = None) -> Exchange:
        visits = self.environment.fourfold.visits
        visit = visits.begin_request()
        try:
            host = visit.host or self.host
            client = self._clients.get(host) or self._new_client(host)
            answer = client.send(text.target, text.body, while_waiting)
            return Exchange(text, visit, url_of(client, text), answer)
        except BaseException:  # the user is stopped
            visits.end_request(visit)
            raise

    def _report_last(self) -> None:
        """Report the request that is answered and not reported yet, if there is one.

        A listener may raise what steers Locust's user. That waits for the end of the request that is under way.
        """
        exchange, self._unreported = self._unreported, None
        if exchange is not None:
            try:
                report(self.environment, exchange)
            except (StopUser, StopTest, RescheduleTask, RescheduleTaskImmediately, InterruptTaskSet) as steering:
                self._steering = steering

    def _new_client(self, host: str) -> Client:
        client = self._clients[host] = new_client(self.environment, host, keeps_connection=self.keeps_connection)
        return client


@events.test_start.add_listener
def begin_with_the_first_text(environment: Environment, **_: Any) -> None:
    environment.texts = itertools.cycle(environment.fourfold.asked.in_order(environment.parsed_options.seed))


Listeners().register(events)
