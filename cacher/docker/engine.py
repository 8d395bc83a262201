"""Container engines: docker, podman or nerdctl inspects, saves, loads and pulls images.

Knows these programs' arguments and output; must not know where an image's bytes go to or come from.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any, Self

from cacher.docker.image_names import ID, Image
from cacher.errors import LocalError, SourceError
from cacher.process import Child, InputClosed

PROGRAMS = ("docker", "podman", "nerdctl")
"""Programs searched on PATH, in this order."""

ANSWER_TIMEOUT = 60.0
"""Seconds that a program may take to inspect an image. A daemon that hangs never answers."""

_MISSING = re.compile(r"no such (image|object)|image not known|image not found", re.IGNORECASE)
"""docker: "No such image: x"; podman: "x: image not known"; nerdctl: "no such object"."""

_LOADED = re.compile(r"^Loaded image(?:\(s\)| ID)?: *(.+)$", re.MULTILINE)

_STOPPED = "did its daemon stop? its log shows why"

_HINTS = {
    "permission denied": "may this user talk to the daemon (group docker, or rootless)?",
    "no space left on device": "the engine's disk is full; `docker system df` shows what fills it",
    "unauthorized": "`docker login` to the registry, or check the name",
    "denied": "`docker login` to the registry, or check the name",
    "manifest unknown": "check the name and the tag",
    "name unknown": "check the name and the tag",
    "not found: manifest": "check the name and the tag",
    "broken pipe": _STOPPED,
    "connection reset": _STOPPED,
    "unexpected eof": _STOPPED,
    "cannot connect": "does its daemon run? DOCKER_HOST says where it listens",
}


class Engine:
    """One of the programs. Methods raise `LocalError` if it, or its daemon, cannot be used."""

    def __init__(
        self, program: str, environ: Mapping[str, str], answer_timeout: float = ANSWER_TIMEOUT
    ) -> None:
        self._program = program
        self._environ = environ
        self.answer_timeout = answer_timeout
        self.name = os.path.basename(program)

    def inspect(self, names: Sequence[str]) -> list[Image | None]:
        """Return the images with these names, None for one that is not there."""
        with self.start_inspect(names) as pending:
            return pending.images()

    def start_inspect(self, names: Sequence[str]) -> PendingInspect:
        """Return a started `image inspect` of these images; use it in a `with` block."""
        return PendingInspect(self, self._child(["image", "inspect", *names]), names)

    def require(self) -> None:
        """Raise `LocalError` unless the program works, its daemon included."""
        # Not `info`, which succeeds without a daemon.
        with self._child(["version", "--format", "{{json .}}"]) as child:
            status = child.wait(self.answer_timeout)
            if status != 0:
                raise self.unusable(child, status)

    def save(self, names: Sequence[str]) -> SaveProcess:
        """Return a `docker save` of these images; use it in a `with` block."""
        # podman would save the first image alone, with the tags of all, and succeed.
        many = ["--multi-image-archive"] if names[1:] and self._is_podman() else []
        return SaveProcess(self, self._child(["save", *many, *names], pipe_stdout=True))

    def load(self) -> LoadProcess:
        """Return a `docker load`; use it in a `with` block, which stops it."""
        return LoadProcess(self, self._child(["load"], pipe_stdin=True))

    def pull(self, name: str) -> None:
        """Get an image from its registry. Raises `SourceError`."""
        self._run(f"pull {name}", ["pull", "--quiet", name])

    def tag(self, image: str, name: str) -> None:
        """Give an image one more name. Raises `SourceError`."""
        self._run(f"tag {image} {name}", ["tag", image, name], self.answer_timeout)

    def _run(self, about: str, argv: Sequence[str], seconds: float | None = None) -> None:
        with self._child(argv) as child:
            status = child.wait(seconds)
            if status != 0:
                raise _failed(f"{self.name} {about}", child, status)

    def _is_podman(self) -> bool:
        """Whether it is podman, whatever its name: podman-docker installs it as `docker`."""
        with self._child(["--version"]) as child:
            return child.wait(self.answer_timeout) == 0 and b"podman" in child.output.lower()

    def _child(
        self, argv: Sequence[str], *, pipe_stdin: bool = False, pipe_stdout: bool = False
    ) -> Child:
        return Child(
            [self._program, *argv], self._environ, pipe_stdin=pipe_stdin, pipe_stdout=pipe_stdout
        )

    def unusable(self, child: Child, status: int | None) -> LocalError:
        """Return the error for a command that did not answer, or failed, in that way."""
        if status is None:
            reason = f"it has not answered for {self.answer_timeout:g} s"
        else:
            reason = _reason(child, status)
        hint = _hint(child.error_output) or "does its daemon run? DOCKER_HOST says where it listens"
        return LocalError(f"{self.name} cannot be used: {reason}", hint)


class _EngineProcess:
    """A command of an engine that runs while its owner does something else."""

    def __init__(self, engine: Engine, child: Child) -> None:
        self._engine = engine
        self._child = child

    def __enter__(self) -> Self:
        self._child.__enter__()
        return self

    def __exit__(self, *exc: object) -> None:
        self._child.__exit__(*exc)


class PendingInspect(_EngineProcess):
    """An `image inspect`."""

    def __init__(self, engine: Engine, child: Child, names: Sequence[str]) -> None:
        super().__init__(engine, child)
        self._names = names

    def images(self) -> list[Image | None]:
        """Wait for the images, None for one that is not there."""
        status = self._child.wait(self._engine.answer_timeout)
        if status == 0:
            return [*_parse_images(self._child.output, len(self._names), self._engine.name)]
        if status is None or not _MISSING.search(self._child.error_output):
            raise self._engine.unusable(self._child, status)
        if len(self._names) == 1:
            return [None]
        return [self._engine.inspect([name])[0] for name in self._names]


def find_engine(program: str | None, environ: Mapping[str, str]) -> Engine:
    """Return the engine with that name or path, or else the first on PATH. Raises `LocalError`."""
    path = environ.get("PATH", os.defpath)
    for name in [program] if program else PROGRAMS:
        if found := shutil.which(name, path=path):
            return Engine(found, _without_secrets(environ))
    if program:
        is_there = os.path.dirname(program) and os.path.exists(program)
        problem = "is not a program that can be run" if is_there else "was not found"
        raise LocalError(f"{program} {problem}", "--docker (CACHER_DOCKER) names the program")
    raise LocalError(
        f"none of {', '.join(PROGRAMS)} was found on PATH",
        "install one, or let --docker (CACHER_DOCKER) name the program",
    )


class SaveProcess(_EngineProcess):
    """A `docker save` and its archive."""

    def __init__(self, engine: Engine, child: Child) -> None:
        super().__init__(engine, child)
        self.readinto: Callable[[memoryview], int] = child.readinto
        self.discard_output: Callable[[], bool] = child.discard_output

    def finish(self) -> None:
        """Wait for its end, once all was read. Raises `SourceError` unless it succeeded."""
        status = self._child.wait()
        if status != 0:
            raise _failed(f"{self._engine.name} save", self._child, status)


class LoadProcess(_EngineProcess):
    """A `docker load`. It loads nothing of an archive whose end it does not get."""

    def write(self, data: memoryview) -> None:
        """Write all of `data` to it. Raises `SourceError` if it has ended."""
        try:
            self._child.write(data)
        except InputClosed:
            status = self._child.wait(ANSWER_TIMEOUT)
            about = f"{self._engine.name} load"
            if status == 0:
                raise SourceError(f"{about} ended before the end of the archive") from None
            raise _failed(about, self._child, status) from None

    def finish(self, rest: Sequence[memoryview]) -> list[str]:
        """Write the rest and wait; return the names, or ids, of the loaded images.

        It need not read all that follows an archive's end.
        Raises `SourceError` unless it succeeded.
        """
        with suppress(InputClosed):
            for data in rest:
                self._child.write(data)
        self._child.end_input()
        status = self._child.wait()
        if status != 0:
            raise _failed(f"{self._engine.name} load", self._child, status)
        lines = _LOADED.findall(self._child.output.decode(errors="replace"))
        return [name.strip() for names in lines for name in names.split(",")]


def _parse_images(output: bytes, count: int, program: str) -> list[Image]:
    """Return the images in the JSON array of `image inspect`. Raises `LocalError`."""
    try:
        images = [_image(one) for one in json.loads(output)]
    except (ValueError, KeyError, TypeError, RecursionError):
        images = []
    if len(images) != count:
        raise LocalError(
            f"{program} image inspect: its answer is not understood",
            f"is {program} a script that prints something besides, or loses the exit status?",
        )
    return images


def _image(description: Any) -> Image:
    match = ID.fullmatch(description["Id"])
    if not match:
        raise ValueError
    layers = [str(digest) for digest in (description.get("RootFS") or {}).get("Layers") or []]
    text = "".join(f"{digest}\n" for digest in layers).encode()
    return Image(match[2], hashlib.sha256(text, usedforsecurity=False).hexdigest())


def _failed(about: str, child: Child, status: int | None) -> SourceError:
    return SourceError(f"{about}: {_reason(child, status)}", _hint(child.error_output))


def _reason(child: Child, status: int | None) -> str:
    """Return why a program failed, from its stderr if there is any."""
    lines = [line.strip() for line in child.error_output.splitlines() if line.strip()]
    if lines:
        errors = [line for line in lines if line.lower().startswith("error")]
        return _without_label((errors or lines)[-1])
    if status is None:
        return "it does not end"
    return f"ended by signal {-status}" if status < 0 else f"exit status {status}"


def _without_label(line: str) -> str:
    for label in ("Error response from daemon: ", "Error: ", "error: "):
        line = line.removeprefix(label)
    return line


def _hint(error_output: str) -> str:
    text = error_output.lower()
    return next((hint for words, hint in _HINTS.items() if words in text), "")


def _without_secrets(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the environment for a program, without the store's credentials."""
    return {name: value for name, value in environ.items() if not name.startswith("CACHER_S3_")}
