"""URLs in messages: useful ones stay, and nothing that may be a secret is left."""

from __future__ import annotations

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from cacher.http.redact_url import redacted
from tests.support.secret_urls import TEMPLATES, is_secret, passwords, pieces


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("http://h/f", "http://h/f"),
        ("https://dl.example.org:8443/a/b%20c.tgz", "https://dl.example.org:8443/a/b%20c.tgz"),
        ("http://[::1]:80/f", "http://[::1]:80/f"),
        ("http://hôte.example/f", "http://hôte.example/f"),
        ("https://h/f?sig=x", "https://h/f?…"),
        ("https://h/f#part", "https://h/f#…"),
        ("https://me:word@h/f?sig=x#y", "https://h/f?…"),
        ("https://me@h:1/f", "https://h:1/f"),
        ("https://r.example.org/@scope/p/-/p-1.tgz", "https://r.example.org/@scope/p/-/p-1.tgz"),
        ("https://r.example.org/npm/@scope/p", "https://r.example.org/npm/@scope/p"),
        ("https://me:word@r.example.org/@scope/p", "https://…@scope/p"),
        ("s3.example.org", "s3.example.org"),
        ("localhost:9000/path", "localhost:9000/path"),
        ("file:///var/cache/me@work", "file:///var/cache/me@work"),
        ("file:///var/cache?x", "file:///var/cache?…"),
        ("http://h/a\r\nb\x1b[2J", "http://h/ab[2J"),
        # A password moves the borders.
        ("http://user:Passw0rd#x@host/f", "http://…@host/f"),
        ("http://user:Passw0rd?x@host/f", "http://…@host/f"),
        ("http://user:12/Secretx@host/f", "http://…@host/f"),
        ("http://u:p@ss/word@host/f", "http://…@host/f"),
        # An @ in a query.
        ("https://h.example.org/f?mail=me@h", "https://h.example.org/f?…"),
        ("https://h.example.org/f?a=@b@c", "https://h.example.org/f?…"),
        ("http://h/f?token=abc@secret", "http://…"),
        ("http://h:80/f#abc@secret", "http://…"),
        # What cannot be parsed.
        ("http://h:Passw0rd/f", "http://h…"),
        ("http://h:99999999/f", "http://h…"),
        ("http://h h/f", "http://h…"),
        ("http://[::1/f", "http://…"),
        ("http://me:word@h h/f", "http://h…"),
        ("http://me:word@h:port/f", "http://h…"),
        ("http://me:word@[::1/f", "http://…"),
        ("user:Passw0rd", "user…"),
        ("", "…"),
        # What is very long.
        ("http://h/" + "a" * 191, "http://h/" + "a" * 191),
        ("http://h/" + "a" * 192, "http://h/" + "a" * 190 + "…"),
        ("http://h/" + "a" * 60_000 + "?x", "http://h/" + "a" * 190 + "…"),
        ("http://" + "h" * 60_000, "http://" + "h" * 192 + "…"),
    ],
)
def test_what_is_shown(url: str, expected: str) -> None:
    assert redacted(url) == expected


@given(st.sampled_from(TEMPLATES), passwords())
@example("http://user:{}@host/f", "12/Secretx")
@example("http://user:{}@host/f", "Passw0rd#x")
@example("http://user:{}@host/f", "p@ssword1234/x")
def test_no_part_of_a_password_is_shown(template: str, password: str) -> None:
    assume(is_secret(template, password))
    reported = redacted(template.format(password))
    assert not [piece for piece in pieces(password) if piece in reported]


@given(st.text(max_size=600))
def test_no_text_is_so_odd_that_it_fails(text: str) -> None:
    assert len(redacted(text).splitlines()) <= 1 or not text.isascii()
