"""How the bytes of a connection are written and read on, in place of uvicorn's own ways."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from uvicorn.protocols.http.flow_control import FlowControl

LINGER_S = 1.0
"""How long a refused client may go on sending, unread, while it reads the answer."""

MAX_HELD_BYTES = 64 * 1024
"""If more bytes than this of a connection wait to be parsed, no more are read from it."""

HTTP = b"HTTP/1.1 "
"""The first bytes of every answer."""


class OneWrite:
    """A transport that sends in one piece what is written in one turn of the event loop.

    uvicorn writes the head and the body of an answer separately, which would cost two system calls and wake the client
    twice. ``has_unread`` says whether a part of a request has not been read. If so, closing waits for the client, up to
    LINGER_S: the kernel resets a connection that is closed with unread bytes, and then the client loses the answer that
    it was just sent. ``on_write`` is called when something is to be sent.
    """

    def __init__(
        self, transport: asyncio.Transport, has_unread: Callable[[], bool], on_write: Callable[[], object]
    ) -> None:
        self._transport = transport
        self._has_unread = has_unread
        self._on_write = on_write
        self._parts: list[bytes] = []
        self._sent_ahead = b""
        self._written_bytes = self._taken_bytes = 0
        self._taken_at_s = 0.0
        self.is_closed = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def write(self, data: bytes) -> None:
        if not self._parts:
            self._on_write()
            asyncio.get_running_loop().call_soon(self.flush)
        self._parts.append(data)

    def is_closing(self) -> bool:
        return self.is_closed or self._transport.is_closing()

    def close(self) -> None:
        if self.is_closing():
            return
        self.flush()
        self.is_closed = True
        if self._has_unread():
            self._transport.write_eof()
            asyncio.get_running_loop().call_later(LINGER_S, self._transport.close)
        else:
            self._transport.close()

    def flush(self) -> None:
        """Send now what was written."""
        if self._parts and not self.is_closing():
            data = b"".join(self._parts).removeprefix(self._sent_ahead)
            self._written_bytes += len(data)
            self._transport.write(data)
            self._sent_ahead = b""
        self._parts.clear()

    def is_sent(self) -> bool:
        """Whether the kernel has taken all that was written."""
        return not self._parts and not self._transport.get_write_buffer_size()

    def is_stalled(self, now_s: float, limit_s: float) -> bool:
        """Whether the client has read nothing of what was written for ``limit_s``, as far as earlier calls saw."""
        left_bytes = self._transport.get_write_buffer_size()
        if self._taken_bytes != self._written_bytes - left_bytes:
            self._taken_bytes, self._taken_at_s = self._written_bytes - left_bytes, now_s
        return left_bytes > 0 and now_s - self._taken_at_s >= limit_s

    def send_ahead(self) -> None:
        """Send the first bytes of the next answer now: if the client has gone, it resets the connection."""
        self._sent_ahead = HTTP
        self._transport.write(HTTP)


class BoundedFlow(FlowControl):
    """Reads no more while more than MAX_HELD_BYTES of pipelined requests are held: they could fill the memory."""

    def __init__(self, transport: asyncio.Transport, held: bytearray) -> None:
        super().__init__(transport)
        self._held = held

    def resume_reading(self) -> None:
        if len(self._held) <= MAX_HELD_BYTES and not self._transport.is_closing():
            super().resume_reading()

    def pause_reading(self) -> None:
        if not self._transport.is_closing():
            super().pause_reading()
