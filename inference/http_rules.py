"""What HTTP/1.1 demands of a request's head, as far as the parser (llhttp) does not check it.

The functions look at the bytes of a request and return the ClientFault to refuse it with, if there is one.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from http import HTTPMethod

from inference.refusals import ClientFault

MAX_HEAD_BYTES = 64 * 1024
"""Of a request's line and headers together. Trailers, and what stands between two parts of a body, may be as long."""

TLS_RECORD = b"\x16"

TOKEN = rb"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,64}"
METHOD_BEGINS = re.compile(TOKEN + rb"( [A-Za-z0-9+.-]{0,64}:?/?)?")
UNKNOWN_METHOD = re.compile(TOKEN + rb" (/|\*|[A-Za-z][A-Za-z0-9+.-]*://)[^\r\n]*(\r?\n|$)")
"""A line that begins with any method and a target."""

ABSOLUTE_TARGET = re.compile(rb"[A-Za-z][A-Za-z0-9+.-]*://[^/?#]+([^#]*)")

HOST = re.compile(rb"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._~!$&'()*+,;=%-]*)(:0*[0-9]{0,5})?")

METHODS = {method.value.encode() for method in HTTPMethod}
"""The methods that the parser knows and that can come here."""

ALLOW = {"Allow": "GET, HEAD, POST, OPTIONS"}


def long_head() -> ClientFault:
    return ClientFault("head", 431, f"expected a head of at most {MAX_HEAD_BYTES} bytes")


def head_bytes(target: bytes, headers: Sequence[tuple[bytes, bytes]]) -> int:
    """How long a head is."""
    return len(b"GET  HTTP/1.1\r\n") + len(target) + sum(len(name) + len(value) + 4 for name, value in headers)


def fault_of_method(line: bytes, *, is_behind: bool) -> ClientFault | None:
    """Why a line is refused that begins with no method that the parser knows; None if more of it has to come first.

    ``is_behind``: another request stands before it in ``line``, and nobody knows where that ends.
    """
    found = UNKNOWN_METHOD.finditer(line) if is_behind else [UNKNOWN_METHOD.match(line)]
    if any(match and match[0].split(b" ")[0] not in METHODS for match in found):
        return ClientFault("method", 405, "expected the method GET, HEAD, POST or OPTIONS, in capitals", ALLOW)
    if METHOD_BEGINS.fullmatch(line):
        return None
    return no_http(line, "it begins with no method")


def fault_of_version(version: str, headers: Sequence[tuple[bytes, bytes]]) -> ClientFault | None:
    """Why these headers can't come with this version of HTTP."""
    hosts = 0
    for name, value in headers:
        if name == b"host":
            hosts += 1
            if not is_host(value):
                return ClientFault("http", 400, "expected a host, and a port if need be, in the Host header")
        elif name == b"transfer-encoding" and value.strip().lower() != b"chunked":
            return ClientFault("http", 400, "expected Transfer-Encoding: chunked, or none; no other is known")
    if version == "1.0":
        return None
    if not version.startswith("1."):  # any later HTTP/1 is treated as HTTP/1.1
        return ClientFault("http", 400, f"expected HTTP/1.1 or HTTP/1.0, got HTTP/{version}")
    if hosts != 1:
        return ClientFault("http", 400, f"expected one Host header, got {hosts or 'none'}")
    return None


def path_of(method: bytes, target: bytes) -> bytes | ClientFault:
    """The target in the form of a path, or why it has none."""
    if method == b"CONNECT":
        return ClientFault("method", 405, "this service is no proxy: it knows no CONNECT", ALLOW)
    if target.startswith(b"/"):
        return target
    if target == b"*" and method == b"OPTIONS":
        return b"/"
    absolute = ABSOLUTE_TARGET.match(target)
    if absolute is None:
        return ClientFault("http", 400, "expected a path such as /infer, or a URL, behind the method")
    return absolute[1] if absolute[1].startswith(b"/") else b"/" + absolute[1]


@lru_cache(maxsize=64)
def is_host(value: bytes) -> bool:
    """Whether it may stand in a Host header (RFC 9110, 7.2)."""
    found = HOST.fullmatch(value)
    return found is not None and int((found[2] or b"").lstrip(b":0") or 0) < 65536


def no_http(data: bytes, error: object) -> ClientFault:
    """Why what came can't be parsed as a request, or as the rest of one."""
    reason = str(error)
    if data.startswith(TLS_RECORD):
        reason = "it looks like TLS: use http://"
    elif "PRI" in reason:
        reason = "it looks like HTTP/2"
    return ClientFault("http", 400, f"expected an HTTP/1.1 request; what came is none ({reason})")
