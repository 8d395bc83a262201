"""The conventional variables, read as curl and Go read them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cacher.http.proxies import Proxies

PROXY = "http://proxy:3128"


def is_exempt(no_proxy: str, host: str, port: int = 443) -> bool:
    proxies = Proxies({"https_proxy": PROXY, "no_proxy": no_proxy})
    return proxies.url_for("https", host, port) == ""


@pytest.mark.parametrize(
    ("environ", "http", "https"),
    [
        ({}, "", ""),
        ({"http_proxy": "http://a"}, "http://a", ""),
        ({"HTTPS_PROXY": "http://a"}, "", "http://a"),
        ({"ALL_PROXY": "http://a"}, "http://a", "http://a"),
        ({"all_proxy": "http://a", "https_proxy": "http://b"}, "http://a", "http://b"),
        ({"HTTP_PROXY": "http://upper", "http_proxy": "http://lower"}, "http://lower", ""),
        ({"HTTP_PROXY": "http://upper", "http_proxy": ""}, "http://upper", ""),
        ({"https_proxy": "proxy:3128"}, "", "http://proxy:3128"),
        ({"https_proxy": " http://a \n"}, "", "http://a"),
        ({"https_proxy": "https://user:pw@proxy"}, "", "https://user:pw@proxy"),
        ({"ftp_proxy": "http://a"}, "", ""),
    ],
)
def test_which_proxy(environ: dict[str, str], http: str, https: str) -> None:
    proxies = Proxies(environ)
    assert proxies.url_for("http", "store", 80) == http
    assert proxies.url_for("https", "store", 443) == https


@pytest.mark.parametrize(
    ("no_proxy", "host", "exempt"),
    [
        ("*", "anything", True),
        ("example.org", "example.org", True),
        ("example.org", "s3.example.org", True),
        ("example.org", "notexample.org", False),
        ("example.org", "example.org.evil.net", False),
        (".example.org", "example.org", True),
        (".example.org", "s3.example.org", True),
        ("*.example.org", "s3.example.org", True),
        ("Example.ORG", "S3.example.org", True),
        ("example.org", "example.org.", True),
        ("example.org.", "example.org", True),
        ("s3.example.org", "example.org", False),
        ("a.net, example.org ,b.net", "example.org", True),
        ("a.net example.org", "example.org", True),
        (" , ,", "example.org", False),
        (".", "example.org", False),
        ("", "example.org", False),
        ("localhost", "localhost", True),
        ("10.0.0.7", "10.0.0.7", True),
        ("10.0.0.7", "10.0.0.70", False),
        ("10.0.0.0/8", "10.200.3.4", True),
        ("10.0.0.1/8", "10.200.3.4", True),
        ("10.0.0.0/8", "11.0.0.1", False),
        ("0.7", "10.0.0.7", False),
        ("::1", "::1", True),
        ("[::1]", "::1", True),
        ("fd00::/8", "fd12::34", True),
        ("fd00::/8", "10.0.0.1", False),
        ("10.0.0.0/8", "ten.example.org", False),
        ("10.0.0.0/99", "10.0.0.1", False),
    ],
)
def test_who_needs_no_proxy(no_proxy: str, host: str, exempt: bool) -> None:
    assert is_exempt(no_proxy, host) is exempt


@pytest.mark.parametrize(
    ("no_proxy", "host", "port", "exempt"),
    [
        ("example.org:3900", "example.org", 3900, True),
        ("example.org:3900", "s3.example.org", 3900, True),
        ("example.org:3900", "example.org", 443, False),
        ("10.0.0.7:3900", "10.0.0.7", 3900, True),
        ("10.0.0.7:3900", "10.0.0.7", 443, False),
        ("[::1]:3900", "::1", 3900, True),
        ("[::1]:3900", "::1", 443, False),
    ],
)
def test_ports_narrow_an_entry(no_proxy: str, host: str, port: int, exempt: bool) -> None:
    assert is_exempt(no_proxy, host, port) is exempt


def test_upper_case_is_for_want_of_lower_case() -> None:
    environ = {"HTTPS_PROXY": PROXY, "NO_PROXY": "a.net", "no_proxy": "b.net"}
    assert Proxies(environ).url_for("https", "a.net", 443) == PROXY
    assert Proxies(environ).url_for("https", "b.net", 443) == ""


@given(st.text(max_size=30), st.text(min_size=1, max_size=20))
def test_no_variable_is_so_odd_that_it_fails(no_proxy: str, host: str) -> None:
    assert Proxies({"https_proxy": PROXY, "no_proxy": no_proxy}).url_for("https", host, 1) in (
        "",
        PROXY,
    )
