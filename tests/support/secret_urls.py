"""URLs that hold a password as it should not be: neither encoded, nor in its place."""

from __future__ import annotations

from hypothesis import strategies as st

_WITHOUT_HOST = "http://h:x{}/f"
"""A user and a password, and the host forgotten."""

TEMPLATES = [
    "http://user:{}@host/f",
    "https://user:{}@host.example.org:8443/a/b?c=d#e",
    "http://:{}@127.0.0.1:1/f",
    "http://{}@host/f",
    "http://us/er:{}@host/f",
    "ftp://user:{}@host/f",
    "user:{}@host/f",
    "//user:{}@host/f",
    _WITHOUT_HOST,
    "http://host/f?token={}",
    "http://host/f#{}",
    "http://user:{}@h h/f",
    "http://user:{}@[::1/f",
    "http://user:{}@host:99999/f",
    "http://user:{}@/f",
    "http://user:{}@",
]

_LENGTH = 8
"""Characters of a password that nobody guesses from the rest."""


def passwords() -> st.SearchStrategy[str]:
    """What ends the parts of a URL is in many of them."""
    return st.text("aZ09/?#@:%&=+~ ü", min_size=_LENGTH, max_size=24)


def is_secret(template: str, password: str) -> bool:
    """Whether all of the password is one there: an @ in it would give a forgotten host back."""
    return template != _WITHOUT_HOST or "@" not in password


def pieces(password: str) -> set[str]:
    """Every piece of a password that must not be seen."""
    return {password[at : at + _LENGTH] for at in range(len(password) - _LENGTH + 1)}
