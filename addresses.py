"""Addresses: the forms in which people write them, and which listener serves which destination.

locustfiles and infra share this module, so that what is loaded, what is sampled and what ``doctor`` calls taken are the
same. It imports nothing but the standard library.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from urllib.parse import urlsplit

SCHEMES = {"http": 80, "https": 443}
"""Scheme -> the port that it means where none is written."""

LOOPBACK = "127.0.0.1"
"""Where a service listens that only this machine may reach, and where a service of this machine answers."""

NO_PROXY = f"localhost,{LOOPBACK},127.0.0.0/8,::1"
"""This machine's own addresses as ``no_proxy`` lists them. Some clients do not know 127.0.0.0/8, and others need it."""

FORMS = "expected HOST:PORT or http://HOST:PORT, such as 127.0.0.1:5000, localhost:5000 or [::1]:5000"

EXACT, WILDCARD, DUAL_STACK = 3, 2, 1
"""How closely a listener serves an IP address: it is bound to that address, to all of its family, or to ``[::]``, which
takes IPv4 too unless IPV6_V6ONLY is set. Of several listeners the kernel gives a connection to the closest."""


class NotAnAddress(ValueError):
    """A text is no address. The message says what is wrong and what is expected."""


@dataclass(frozen=True)
class Address:
    """Where a service answers.

    ``user`` is empty or ends in ``@``; ``host`` is a name or an IP address, without brackets; ``written_port`` is None
    if no port is written; ``path`` has no slash at its end.
    """

    scheme: str
    user: str
    host: str
    written_port: int | None
    path: str

    @property
    def port(self) -> int:
        """The port, if need be that of the scheme."""
        return self.written_port or SCHEMES[self.scheme]

    @property
    def url(self) -> str:
        place = bracketed(self.host) if self.written_port is None else joined(self.host, self.written_port)
        return f"{self.scheme}://{self.user}{place}{self.path}"


def parse(text: str) -> Address:
    """Any form in which people write the address of a service.

    A wildcard (``0.0.0.0``, ``[::]``) is where a service listens and no destination: loopback takes its place.

    Raises:
        NotAnAddress: it can't be understood, or has a query.
    """
    wrong = f"{without_password(text)!r} is not the address of a service"
    whole = text.strip()
    try:
        parts = urlsplit(whole if "://" in whole else f"http://{whole.removeprefix('//')}")
    except ValueError as error:
        raise NotAnAddress(f"{wrong} ({error}); {FORMS}") from error
    if parts.scheme not in SCHEMES:
        raise NotAnAddress(f"{wrong}: {parts.scheme}:// is neither http:// nor https://; {FORMS}")
    if parts.query or parts.fragment or " " in whole or not whole.isprintable():
        raise NotAnAddress(f"{wrong}; {FORMS}")
    user, at, place = parts.netloc.rpartition("@")
    try:
        host, port = _host_and_port(place)
    except NotAnAddress as error:
        raise NotAnAddress(f"{wrong}: {error}") from error
    if re.fullmatch(r"/+(:.*|[0-9]+/*)", parts.path):
        raise NotAnAddress(f"{wrong}: no slash is before the port; {FORMS}")
    return Address(parts.scheme, user + at, host, port, parts.path.rstrip("/"))


def written(host: str, port: str) -> Address:
    """The address of a service of which host and port are given apart; an IPv6 host has brackets or none.

    Raises:
        NotAnAddress: they can't be understood.
    """
    host = host.strip().rstrip("/")
    if "://" in host:
        raise NotAnAddress(f"{without_password(host)!r}: HOST is a name or an address, without http://")
    name = host[1:-1] if host.startswith("[") and host.endswith("]") else host
    if re.search(r"[/@]", name) or (":" in name and ip_of(name) is None):
        raise NotAnAddress(f"{without_password(host)!r}: HOST is a name or an address, and nothing else")
    return parse(joined(name, port_number(port)))


def bracketed(host: str) -> str:
    """A host as it stands in a URL."""
    return f"[{host}]" if ":" in host else host


def joined(host: str, port: int) -> str:
    """``HOST:PORT``, with an IPv6 address in brackets."""
    return f"{bracketed(host)}:{port}"


def port_number(text: str) -> int:
    """A TCP port.

    Raises:
        NotAnAddress: it is not one number from 1 to 65535.
    """
    if not re.fullmatch(r"[0-9]{1,5}", text) or not 0 < int(text) < 65536:
        raise NotAnAddress(f"{text!r} is not a port; expected one number from 1 to 65535")
    return int(text)


def without_password(text: str) -> str:
    """A text in which URLs have lost their user and password, to be kept in files."""
    return re.sub(r"(https?://)[^/\s@]*@", r"\1", text)


def ip_of(text: str) -> IPv4Address | IPv6Address | None:
    """An IP address as it compares: no zone, and IPv4 where it is IPv4 mapped into IPv6; None where it is a name."""
    try:
        ip = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None
    return getattr(ip, "ipv4_mapped", None) or ip


def closeness(listening: str, destination: str) -> int:
    """How closely a listener at one IP address serves connections to another: ``EXACT``, ``WILDCARD``, ``DUAL_STACK``,
    or 0 where it does not. Protocol and port are the caller's to compare.

    An empty ``listening`` is what some engines write for all addresses. Nobody outside a process can see whether its
    ``[::]`` takes IPv4 too; it is taken to do so, as Linux does by default, and any closer listener is preferred.
    """
    at, to = ip_of(listening or "::"), ip_of(destination)
    if at is None or to is None:
        return 0
    if at == to:
        return EXACT
    if not at.is_unspecified:
        return 0
    if at.version == to.version:
        return WILDCARD
    return DUAL_STACK if at.version == 6 else 0


def overlap(ip: str, other: str) -> bool:
    """Whether two listeners at these IP addresses can't have the same port."""
    return bool(closeness(ip, other) or closeness(other, ip))


def _host_and_port(place: str) -> tuple[str, int | None]:
    if place.startswith("["):
        inside, _, behind = place[1:].partition("]")
        if ":" not in inside or (behind and not behind.startswith(":")):
            raise NotAnAddress(f"brackets are for an IPv6 address, and a colon is before the port; {FORMS}")
        return _host(inside), port_number(behind[1:]) if behind else None
    if place.count(":") > 1:
        host, _, last = place.rpartition(":")
        if ip_of(place) is None or (last.isascii() and last.isdecimal() and ip_of(host) is not None):
            raise NotAnAddress(f"an IPv6 address with a port has brackets; {FORMS}")
        return _host(place), None
    host, colon, port = place.partition(":")
    return _host(host), port_number(port) if colon else None


def _host(name: str) -> str:
    """A name in lower case, or an IP address as a destination."""
    name = name.lower()
    zone = name.partition("%")[2].removeprefix("25")  # a URL writes the percent sign itself as %25 (RFC 6874)
    ip = ip_of(name)
    if ip is None:
        if not re.fullmatch(r"[^\s:\[\]/?#@%]+", name):
            raise NotAnAddress(f"{name!r} is no host; {FORMS}" if name else f"the host is missing; {FORMS}")
        return name
    if ip.is_unspecified:
        return "127.0.0.1" if ip.version == 4 else "::1"
    return f"{ip}%{zone}" if zone else str(ip)
