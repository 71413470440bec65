"""``locust -f locustfiles/open_load.py --rate 50``: 50 requests are sent per second, whether or not they are answered.

In a closed workload a slow service is asked less. Here it is not: requests that it can't answer in time wait for it, as
those of real users do. The response time counts from when a request was due, so it has all of that wait.
"""

from __future__ import annotations

from typing import Any

import gevent
from locust import events, task
from locust.env import Environment
from locust.exception import RescheduleTaskImmediately

from _users import ReviewUser

# isort: split
# Only now can Python find what the others import.
import _options
from _open import LOOK_EVERY_S, OpenLoad

events.init_command_line_parser.add_listener(_options.add_open_arguments)


@events.init.add_listener
def begin_with_no_arrivals(environment: Environment, **_: Any) -> None:
    environment.fourfold.open_load = OpenLoad(environment)
    environment.fourfold.open_load.register()
    _options.share_out_the_rate(environment.parsed_options)


class OpenUser(ReviewUser):
    """Open workload. Each user brings an equal share of the rate; one user is enough, or one for each worker."""

    is_open = True

    def on_start(self) -> None:
        self.environment.fourfold.open_load.add_user()

    def on_stop(self) -> None:
        self.environment.fourfold.open_load.remove_user()

    @task
    def wait_to_be_stopped(self) -> None:
        """All is done beside the users: nothing of a request may keep the next one from being sent."""
        gevent.sleep(LOOK_EVERY_S)
        raise RescheduleTaskImmediately
