"""Addresses as people write them, and who serves whom."""

from __future__ import annotations

import pytest

from addresses import (
    DUAL_STACK,
    EXACT,
    WILDCARD,
    NotAnAddress,
    closeness,
    overlap,
    parse,
    port_number,
    without_password,
    written,
)


@pytest.mark.parametrize(
    ("written", "url", "port"),
    [
        ("http://127.0.0.1:5730/", "http://127.0.0.1:5730", 5730),
        ("127.0.0.1:5730", "http://127.0.0.1:5730", 5730),
        ("  localhost:5730 ", "http://localhost:5730", 5730),
        ("HTTP://LocalHost:5730//", "http://localhost:5730", 5730),
        ("http://0.0.0.0:5730", "http://127.0.0.1:5730", 5730),
        ("[::]:5730", "http://[::1]:5730", 5730),
        ("http://[::1]:5730/", "http://[::1]:5730", 5730),
        ("http://[FD00::0:1]:5730", "http://[fd00::1]:5730", 5730),
        ("::1", "http://[::1]", 80),
        ("[::ffff:127.0.0.1]:5730", "http://127.0.0.1:5730", 5730),
        ("[::ffff:0.0.0.0]:5730", "http://127.0.0.1:5730", 5730),
        ("http://[fe80::1%25eth0]:5730", "http://[fe80::1%eth0]:5730", 5730),
        ("fe80::1%eth0", "http://[fe80::1%eth0]", 80),
        ("https://web.example", "https://web.example", 443),
        ("https://user:p%40ss@web.example:8443/base/", "https://user:p%40ss@web.example:8443/base", 8443),
        ("web_1:05000", "http://web_1:5000", 5000),
    ],
)
def test_all_forms_of_an_address_are_read(written: str, url: str, port: int) -> None:
    address = parse(written)
    assert (address.url, address.port) == (url, port)
    assert parse(url) == address


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("", "the host is missing"),
        ("http://", "the host is missing"),
        (":5730", "the host is missing"),
        ("127.0.0.1:", "'' is not a port"),
        ("127.0.0.1:0", "'0' is not a port; expected one number from 1 to 65535"),
        ("127.0.0.1:99999", "'99999' is not a port"),
        ("http://127.0.0.1:5745-5746", "'5745-5746' is not a port"),
        ("127.0.0.1:\uff15", "is not a port"),
        ("127.0.0.1:+5", "is not a port"),
        ("::1:5730", r"an IPv6 address with a port has brackets; expected .* or \[::1\]:5000"),
        ("http://::1:5730", "an IPv6 address with a port has brackets"),
        ("[::1]5730", "a colon is before the port"),
        ("[::1", "is not the address of a service"),
        ("[localhost]:5730", "is not the address of a service"),
        ("a b:5730", "is not the address of a service"),
        ("tcp://127.0.0.1:5730", "tcp:// is neither http:// nor https://"),
        ("http://127.0.0.1:5730/?x=1", "is not the address of a service"),
    ],
)
def test_what_is_no_address_is_explained(written: str, expected: str) -> None:
    with pytest.raises(NotAnAddress, match=expected):
        parse(written)


@pytest.mark.parametrize("text", ["127.0.0.1/:7300", "localhost/7300", "http://[::1]/:7300/", "localhost//7300/"])
def test_a_slash_before_the_port_is_refused(text: str) -> None:
    with pytest.raises(NotAnAddress, match="no slash is before the port"):
        parse(text)


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("::1", "http://[::1]:5000"),
        ("[::1]", "http://[::1]:5000"),
        ("localhost", "http://localhost:5000"),
        ("127.0.0.1/", "http://127.0.0.1:5000"),
        ("0.0.0.0", "http://127.0.0.1:5000"),
    ],
)
def test_host_and_port_apart(host: str, url: str) -> None:
    assert written(host, "5000").url == url


@pytest.mark.parametrize("host", ["", "http://localhost", "localhost:5000", "me@localhost", "localhost/infer", "[::1"])
def test_a_host_apart_is_nothing_else(host: str) -> None:
    with pytest.raises(NotAnAddress):
        written(host, "5000")


def test_a_password_is_not_repeated() -> None:
    with pytest.raises(NotAnAddress, match=r"^'http://web:0' is not"):
        parse("http://me:secret@web:0")
    assert without_password("locust --host 'https://me:secret@web' -u 1") == "locust --host 'https://web' -u 1"
    assert without_password("http://web/a@b") == "http://web/a@b"


@pytest.mark.parametrize("text", ["", "0", "65536", "1e3", "5000-5001", "5_000", "-1", "99999999999999999999"])
def test_a_port_is_one_number(text: str) -> None:
    with pytest.raises(NotAnAddress, match="expected one number from 1 to 65535"):
        port_number(text)


@pytest.mark.parametrize(
    ("listening", "destination", "expected"),
    [
        ("127.0.0.1", "127.0.0.1", EXACT),
        ("127.0.0.1", "127.0.0.2", 0),
        ("0.0.0.0", "192.0.2.2", WILDCARD),
        ("0.0.0.0", "::1", 0),
        ("::", "fd00::2", WILDCARD),
        ("::", "127.0.0.1", DUAL_STACK),
        ("::1", "127.0.0.1", 0),
        ("127.0.0.1", "::ffff:127.0.0.1", EXACT),
        ("::ffff:127.0.0.1", "127.0.0.1", EXACT),
        ("fe80::1%eth0", "fe80::1", EXACT),
        ("0:0::1", "::1", EXACT),
        ("", "127.0.0.1", DUAL_STACK),
        ("", "::1", WILDCARD),
        ("localhost", "127.0.0.1", 0),
    ],
)
def test_how_closely_a_listener_serves_a_destination(listening: str, destination: str, expected: int) -> None:
    assert closeness(listening, destination) == expected


@pytest.mark.parametrize(
    ("listener", "other", "expected"),
    [
        ("127.0.0.1", "127.0.0.1", True),
        ("127.0.0.1", "127.0.0.2", False),
        ("127.0.0.1", "0.0.0.0", True),
        ("127.0.0.1", "::", True),
        ("127.0.0.1", "::1", False),
        ("::1", "0.0.0.0", False),
    ],
)
def test_two_listeners_at_one_port(listener: str, other: str, expected: bool) -> None:
    assert overlap(listener, other) is overlap(other, listener) is expected
