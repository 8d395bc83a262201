"""The command lines, and the templates in them, that the double of docker understands."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Sequence
from typing import Any

from tests.fakes.docker_call import Refused, refuse

_USAGE = 1
_UNKNOWN_FLAG = 125

_FLAGS: dict[str, dict[str, str]] = {
    "version": {"-f": "format", "--format": "format"},
    "info": {"-f": "format", "--format": "format"},
    "inspect": {"-f": "format", "--format": "format"},
    "load": {"-i": "input", "--input": "input", "-q": "", "--quiet": ""},
    "pull": {"-q": "", "--quiet": ""},
    "rm": {"-f": "", "--force": ""},
    "save": {},
    "tag": {},
}
"""What each command takes, and what the value is called; none: it takes no value."""

_IMAGE = {"inspect", "save", "load", "tag", "pull", "rm"}
_TOP = {"version", "info", "save", "load", "tag", "pull"}

_OPERANDS = {
    "inspect": (1, None),
    "save": (1, None),
    "rm": (1, None),
    "tag": (2, 2),
    "pull": (1, 1),
}

_PLACEHOLDER = re.compile(r"\{\{\s*(json\s+)?\.([\w.]*)\s*\}\}")


class Request:
    """What a command line asks for."""

    def __init__(self, argv: Sequence[str]) -> None:
        words = list(argv)
        self.command, self._called = _command(words)
        self.options: dict[str, str] = {}
        self.operands: list[str] = []
        self._parse(words)

    def _parse(self, words: list[str]) -> None:
        known = _FLAGS[self.command]
        while words:
            word = words.pop(0)
            if word == "--":
                self.operands += words
                return
            if not word.startswith("-") or word == "-":
                self.operands.append(word)
                continue
            flag, has_value, value = word.partition("=")
            if flag not in known:
                raise refuse(f"{flag} of docker {self._called}")
            if known[flag] and not has_value:
                if not words:
                    raise Refused(_UNKNOWN_FLAG, f"flag needs an argument: {flag}")
                value = words.pop(0)
            self.options[known[flag] or flag] = value

    def check(self) -> None:
        """Raises `Refused` for a wrong number of operands."""
        least, most = _OPERANDS.get(self.command, (0, 0))
        count = len(self.operands)
        if count < least or (most is not None and count > most):
            needs = "at least" if most is None else "exactly"
            plural = "s" if least != 1 else ""
            called = f"docker {self._called}"
            raise Refused(_USAGE, f'"{called}" requires {needs} {least} argument{plural}.')


def _command(words: list[str]) -> tuple[str, str]:
    """The command, and how it was called; takes its words away."""
    while words and words[0] in ("-H", "--host"):
        os.environ["DOCKER_HOST"] = words[1]
        del words[:2]
    first = words.pop(0) if words else ""
    if first in _TOP:
        return first, first
    if first == "rmi":
        return "rm", first
    if first == "image" and words and words[0] in _IMAGE:
        second = words.pop(0)
        return second, f"image {second}"
    raise refuse(f"docker {first} {words[0] if words else ''}".rstrip())


def rendered(form: str, told: dict[str, Any]) -> str:
    """A Go template of fields alone, as `{{.Id}}` or `{{json .RepoTags}}`."""

    def field(match: re.Match[str]) -> str:
        value: Any = told
        for part in filter(None, match[2].split(".")):
            if not isinstance(value, dict) or part not in value:
                reason = f'executing "" at <.{match[2]}>: map has no entry for key "{part}"'
                raise Refused(1, f"template parsing error: template: :1:2: {reason}", "\n")
            value = value[part]
        if match[1]:
            return json.dumps(value, separators=(",", ":"))
        return f"[{' '.join(value)}]" if isinstance(value, list) else str(value)

    text = _PLACEHOLDER.sub(field, form)
    if "{{" in text:
        raise refuse(f"the template {form}")
    return text
