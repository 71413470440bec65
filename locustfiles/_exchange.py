"""A request and its answer, and how Locust is told of them: the same for all user classes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from locust.env import Environment

from runfiles.reconnect import read_reconnect_every
from servicefile.texts import TextRequest

from _client import Answer, Client
from _visits import Visit


@dataclass(slots=True, frozen=True)
class Exchange:
    """A request that has its answer, or has failed."""

    text: TextRequest
    visit: Visit
    url: str
    answer: Answer


def new_client(environment: Environment, host: str, *, keeps_connection: bool, places: Sequence[Any] = ()) -> Client:
    """A client that asks the service at ``host`` as its service file says."""
    asked = environment.fourfold.asked
    request = asked.service.request
    reconnect_every = environment.parsed_options.reconnect_every
    return Client(
        host,
        request.method,
        request.headers,
        asked.expected,
        keeps_connection=keeps_connection,
        places=places,
        reconnect_every=None if reconnect_every is None else read_reconnect_every(reconnect_every),
    )


def url_of(client: Client, text: TextRequest) -> str:
    return f"{client.base_url}{text.target.decode()}"


def report(environment: Environment, exchange: Exchange) -> None:
    """Fire Locust's event ``request``, and note that the request has its answer."""
    answer = exchange.answer
    try:
        environment.events.request.fire(
            request_type=environment.fourfold.asked.service.request.method,
            name=exchange.visit.request_name,
            response_time=answer.response_time_ms,
            response_length=len(answer.content),
            response=answer,
            context={
                "text_id": exchange.text.text_id,
                "request_bytes": len(exchange.text.body),
                "connection_reused": answer.connection_reused,
                "block": exchange.visit.block,
                "client_wait_ms": answer.client_wait_ms,
                "retried": answer.retried,
                "reconnected": answer.reconnected,
                "send_delay_ms": answer.send_delay_ms,
            },
            exception=answer.error,
            start_time=answer.started_at_unix_s,
            url=exchange.url,
        )
    finally:
        environment.fourfold.visits.end_request(exchange.visit)
