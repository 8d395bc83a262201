"""The commands that the double of docker knows: what docker 20.10 and 28 print and return.

Whatever else it is asked it refuses with status 64, which docker itself has no use for.
`docker_request` reads the command line, `docker_call` fails as the scene says.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Sequence
from typing import Any

from tests.fakes import docker_archive, docker_state
from tests.fakes.docker_call import CANCELLED, Call, Cut, Refused, refuse
from tests.fakes.docker_request import Request, rendered
from tests.fakes.docker_state import ImageState, find, shown, tags

_CHUNK = 1024 * 1024  # bytes

_ID = re.compile(r"(?:sha256:)?([0-9a-f]{64})")


def main(argv: Sequence[str]) -> int:
    """Do what the command line and the scene say; the exit status."""
    try:
        request = Request(argv)
        request.check()
    except Refused as refused:
        call = Call(os.environ["FAKE_DOCKER"], "unknown", list(argv))
        return _refused(call, refused)
    call = Call(os.environ["FAKE_DOCKER"], request.command, list(argv))
    call.flood()
    try:
        if not call.scene["reachable"]:
            raise _unreachable(request, call)
        if call.strikes() and request.command not in ("save", "load"):
            return call.end(1)
        _COMMANDS[request.command](call, request)
    except Refused as refused:
        return _refused(call, refused)
    except Cut:
        pass
    return call.end(0)


def _refused(call: Call, refused: Refused) -> int:
    call.stdout.write(refused.stdout.encode())
    if refused.stderr:
        call.say(refused.stderr)
    call.note(refused.status)
    return refused.status


def _unreachable(request: Request, call: Call) -> Refused:
    host = os.environ.get("DOCKER_HOST") or "unix:///var/run/docker.sock"
    text = f"Cannot connect to the Docker daemon at {host}. Is the docker daemon running?"
    stdout, form = "", request.options.get("format")
    if form is not None:
        told = {"Client": {"Version": call.scene["version"]}, "Server": None}
        known = request.command == "version" and form == "{{json .}}"
        stdout = f"{rendered(form, told)}\n" if known else "\n"
    elif request.command == "inspect":
        stdout = "[]\n"
    elif request.command in ("version", "info"):
        stdout = f"Client:\n Version:           {call.scene['version']}\n"
    elif request.command == "pull":
        stdout = _default_tag(request)
    return Refused(1, text, stdout)


def _version(call: Call, request: Request) -> None:
    version = call.scene["version"]
    told = {"Client": {"Version": version}, "Server": {"Version": version}}
    text = f"Client:\n Version: {version}\n\nServer:\n Engine:\n  Version: {version}"
    form = request.options.get("format")
    _print(call, text if form is None else rendered(form, told))


def _info(call: Call, request: Request) -> None:
    version = call.scene["version"]
    text = f"Client:\n Context:    default\n\nServer:\n Server Version: {version}"
    form = request.options.get("format")
    _print(call, text if form is None else rendered(form, {"ServerVersion": version}))


def _inspect(call: Call, request: Request) -> None:
    found, missing = [], []
    for name in request.operands:
        image = find(call.scene["local"], name)
        if image:
            found.append(_told(image))
        else:
            missing.append(_missing(call, name))
    form = request.options.get("format")
    if form is None:
        text = json.dumps(found, indent=4)
    else:
        text = "\n".join(rendered(form, one) for one in found)
    if missing:
        raise Refused(1, "\n".join(missing), f"{text}\n")
    _print(call, text)


def _save(call: Call, request: Request) -> None:
    if os.isatty(1):
        raise Refused(1, "cowardly refusing to save to a terminal. Use the -o flag or redirect")
    for piece in docker_archive.archive(_asked(call, request.operands)):
        call.stdout.write(piece)


def _asked(call: Call, names: Sequence[str]) -> list[ImageState]:
    """The images of these names, each once, and with none but the names that were asked for.

    A name without a tag means all tags of its repository, an id no tag at all.
    """
    asked: dict[str, ImageState] = {}
    for name in names:
        for image, found in _matches(call.scene["local"], name):
            if not image["seed"]:
                raise refuse(f"the content of {name}, which it has not made")
            one = asked.setdefault(image["id"], ImageState(**{**image, "names": []}))
            one["names"] += [tag for tag in found if tag not in one["names"]]
    return list(asked.values())


def _matches(images: list[ImageState], name: str) -> list[tuple[ImageState, list[str]]]:
    """What `docker save NAME` would save: images, each with the tags that NAME means."""
    untagged = shown(name) != name and shown(name).endswith(":latest")
    if untagged:
        repository = shown(name).removesuffix("latest")
        means = {one["id"]: [t for t in tags(one) if t.startswith(repository)] for one in images}
        if any(means.values()):
            return [(one, means[one["id"]]) for one in images if means[one["id"]]]
    image = find(images, name)
    if image is None:
        raise Refused(1, f"Error response from daemon: {_not_saved(name, untagged)}")
    return [(image, [shown(name)] if shown(name) in tags(image) else [])]


def _not_saved(name: str, untagged: bool) -> str:
    if digits := _ID.fullmatch(name):
        place = f"/var/lib/docker/image/overlay2/imagedb/content/sha256/{digits[1]}"
        return f"failed to get digest sha256:{digits[1]}: open {place}: no such file or directory"
    if untagged or name.startswith("sha256:"):
        return f"No such image: {name}"
    return "reference does not exist"


def _load(call: Call, request: Request) -> None:
    if "input" in request.options:
        try:
            call.stdin.file = os.open(request.options["input"], os.O_RDONLY)
        except OSError as error:
            text = f"open {request.options['input']}: {(error.strerror or '').lower()}"
            raise Refused(1, text) from error
    elif os.isatty(0):
        raise Refused(1, "requested load from stdin, but stdin is empty")
    try:
        images = docker_archive.loaded(call.stdin)
    except docker_archive.ArchiveError as error:
        while call.stdin.read(_CHUNK):
            pass  # so does the daemon before it complains
        if call.strikes():
            return  # it says what it is told to
        raise Refused(1, str(error)) from error
    if call.cancelled():
        raise Refused(CANCELLED, "")
    if not call.strikes():
        _register(call, images)


def _register(call: Call, images: list[ImageState]) -> None:
    registers = call.fault["registers"] if call.fault else "all"
    ids = []
    for image in images:
        names = image["names"]
        if registers == "other":
            image = docker_archive.image(names, f"other than {image['id']}", 1000)
        lost: dict[str, str] = {}
        if registers != "nothing":
            with docker_state.changing(call.path) as scene:
                lost = docker_state.register(scene["local"], image)
        for name, old in lost.items():
            text = f"The image {name} already exists, renaming the old one with ID {old}"
            _print(call, f"{text} to empty string")
        for name in names:
            _print(call, f"Loaded image: {name}")
        ids.append(image["id"])
    if images and not images[-1]["names"]:  # then docker tells of all, and otherwise of none
        for one in ids:
            _print(call, f"Loaded image ID: {one}")


def _tag(call: Call, request: Request) -> None:
    source, target = request.operands
    with docker_state.changing(call.path) as scene:
        image = find(scene["local"], source)
        if image is None:
            raise Refused(1, f"Error response from daemon: No such image: {shown(source)}")
        new = ImageState(**{**image, "names": [shown(target)]})
        docker_state.register(scene["local"], new)


def _pull(call: Call, request: Request) -> None:
    (name,) = request.operands
    wanted = shown(name)
    call.stdout.write(_default_tag(request).encode())
    image = next((one for one in call.scene["remote"] if wanted in one["names"]), None)
    if image is None:
        reason = "not found: manifest unknown: manifest unknown"
        raise Refused(1, f"Error response from daemon: manifest for {wanted} {reason}")
    with docker_state.changing(call.path) as scene:
        docker_state.register(scene["local"], ImageState(**{**image, "names": [wanted]}))
    if not _quiet(request):
        _print(call, f"Status: Downloaded newer image for {wanted}")
    _print(call, wanted)


def _quiet(request: Request) -> bool:
    return not {"-q", "--quiet"}.isdisjoint(request.options)


def _default_tag(request: Request) -> str:
    (name,) = request.operands
    untagged = "@" not in name and ":" not in name.rpartition("/")[2]
    return "Using default tag: latest\n" if untagged and not _quiet(request) else ""


def _rm(call: Call, request: Request) -> None:
    for name in request.operands:
        with docker_state.changing(call.path) as scene:
            image = find(scene["local"], name)
            if image is None:
                if call.modern:
                    text = f"Error response from daemon: No such image: {shown(name)}"
                    raise Refused(1, text)
                raise Refused(1, f"Error: No such image: {name}")
            gone = [shown(name)] if shown(name) in image["names"] else list(image["names"])
            image["names"] = [one for one in image["names"] if one not in gone]
            if not image["names"]:
                scene["local"].remove(image)
        for one in gone:
            _print(call, f"Untagged: {one}")
        if not image["names"]:
            _print(call, f"Deleted: {image['id']}")


def _missing(call: Call, name: str) -> str:
    if call.modern:
        return f"Error response from daemon: no such image: {name}: No such image: {shown(name)}"
    return f"Error: No such image: {name}"


def _told(image: ImageState) -> dict[str, Any]:
    digests = [name for name in image["names"] if "@" in name]
    return {
        "Id": image["id"],
        "RepoTags": tags(image),
        "RepoDigests": digests,
        "Architecture": "amd64",
        "Os": "linux",
        "Size": image["size"],
        "RootFS": {"Type": "layers", "Layers": image["layers"]},
    }


def _print(call: Call, text: str) -> None:
    call.stdout.write(f"{text}\n".encode())


_COMMANDS: dict[str, Callable[[Call, Request], None]] = {
    "version": _version,
    "info": _info,
    "inspect": _inspect,
    "save": _save,
    "load": _load,
    "tag": _tag,
    "pull": _pull,
    "rm": _rm,
}
