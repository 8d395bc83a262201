"""Answers and the XML in them, in Garage's shape.

Knows how a document is spelled, not when which one is due.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from xml.sax.saxutils import escape

DECLARATION = '<?xml version="1.0" encoding="UTF-8"?>'
NAMESPACE = "http://s3.amazonaws.com/doc/2006-03-01/"


class S3Error(Exception):
    """A refusal with an S3 error code."""

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        headers: Mapping[str, str] | None = None,
        empty: bool = False,
    ) -> None:
        super().__init__(f"{status} {code}: {message}")
        self.status = status
        self.code = code
        self.message = message
        self.headers = dict(headers or {})
        self.empty = empty
        """Whether it goes without a document (304, 412 on GET)."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What is sent back. `body` is left away in the answer to a HEAD, its length is not."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes | memoryview = b""


def invalid(message: str) -> S3Error:
    """Garage's generic refusal: 400 `InvalidRequest`, where only the message tells."""
    return S3Error(400, "InvalidRequest", message)


def text(name: str, value: object) -> str:
    """An element around escaped text."""
    escaped = escape(str(value), {'"': "&quot;"})
    return f"<{name}>{escaped}</{name}>"


def node(name: str, *children: str) -> str:
    """An element around elements."""
    return f"<{name}>{''.join(children)}</{name}>"


def document(root: str, *children: str) -> bytes:
    """A whole document in S3's namespace; children are elements already."""
    inner = "".join(children)
    return f'{DECLARATION}<{root} xmlns="{NAMESPACE}">{inner}</{root}>'.encode()


def xml(body: bytes, status: int = 200) -> Answer:
    """An answer that is a document."""
    return Answer(status, {"Content-Type": "application/xml"}, body)


def error_document(code: str, message: str, resource: str, region: str) -> bytes:
    """Garage's error document: four fields, no namespace, no request id."""
    fields = (
        text("Code", code),
        text("Message", message),
        text("Resource", resource),
        text("Region", region),
    )
    return (DECLARATION + node("Error", *fields)).encode()


def error(problem: S3Error, resource: str, region: str) -> Answer:
    """The answer to a request that was refused."""
    if problem.empty:
        return Answer(problem.status, problem.headers)
    body = error_document(problem.code, problem.message, resource, region)
    return Answer(problem.status, {"Content-Type": "application/xml", **problem.headers}, body)


def timestamp(seconds: float) -> str:
    """A POSIX time as S3's documents write it: UTC, milliseconds."""
    moment = datetime.fromtimestamp(seconds, UTC)
    return moment.strftime("%Y-%m-%dT%H:%M:%S.") + f"{moment.microsecond // 1000:03d}Z"
