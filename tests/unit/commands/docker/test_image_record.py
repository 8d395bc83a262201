"""What is recorded of images: read as it was written, bounded, and never misread."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from cacher.commands.docker.image_record import (
    IMAGES,
    LIMIT,
    MORE,
    ImageRecord,
    make_record,
    read_record,
)
from cacher.docker.image_names import Image, normalize
from cacher.errors import IntegrityError
from cacher.store.interface import Entry

A = Image("a" * 64, "1" * 64)
B = Image("b" * 64, "2" * 64)


def _read(metadata: Mapping[str, str]) -> ImageRecord | None:
    return read_record(Entry("k", 0, metadata=metadata))


def test_what_was_recorded_is_told() -> None:
    told = make_record(["app:1", "registry.example:5000/b"], [A, B])
    assert _read(told.metadata()) == told
    assert told.find("app:1") == A
    assert told.find("docker.io/library/app:1") == A
    assert told.find("registry.example:5000/b:latest") == B
    assert told.find("app:2") is None


def test_an_image_may_be_named_by_its_id() -> None:
    told = make_record(["aaaaaaaa", "sha256:" + "b" * 64], [A, B])
    assert list(told.images) == ["sha256:" + "a" * 64, "sha256:" + "b" * 64]
    assert told.find("aaaaaa") == told.find("a" * 64) == told.find("sha256:" + "a" * 64) == A
    assert told.find("cccccc") is None


def test_names_that_are_one_elsewhere_are_two_here() -> None:
    told = _read(make_record(["localhost/app:1", "app:1"], [A, B]).metadata())
    assert told is not None
    assert told.find("localhost/app:1") == A
    assert told.find("app:1") == told.find("docker.io/library/app:1") == B
    other = make_record(["localhost/app:1"], [A])
    assert other.find("app:1") == A


def test_too_many_are_counted() -> None:
    names = [f"registry.example/team/app:{number}" for number in range(30)]
    metadata = make_record(names, [A] * 30).metadata()
    told = _read(metadata)
    assert told is not None
    assert len(metadata[IMAGES]) <= LIMIT
    assert told.more == int(metadata[MORE]) == 30 - len(told.images)
    assert len(told.images) > 5


def test_no_record_is_none() -> None:
    assert _read({"cacher-kind": "image"}) is None


@pytest.mark.parametrize(
    "metadata",
    [
        {IMAGES: "app:1"},
        {IMAGES: "app:1 aaaa bbbb"},
        {IMAGES: f"app:1 {'a' * 64} {'A' * 64}"},
        {IMAGES: f"app:1 {'a' * 64} {'b' * 64} x"},
        {IMAGES: "", MORE: "many"},
        {IMAGES: f"--help {'a' * 64} {'b' * 64}"},
    ],
)
def test_damage_is_told(metadata: dict[str, str]) -> None:
    with pytest.raises(IntegrityError, match="damaged"):
        _read(metadata)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("debian", "debian:latest"),
        ("docker.io/library/debian", "debian:latest"),
        ("docker.io/grafana/grafana:9", "grafana/grafana:9"),
        ("localhost/app", "app:latest"),
        ("localhost:5000/app", "localhost:5000/app:latest"),
        ("host:5000/app:2", "host:5000/app:2"),
        ("app@sha256:" + "c" * 64, "app@sha256:" + "c" * 64),
        ("d" * 64, "sha256:" + "d" * 64),
        ("sha256:" + "d" * 64, "sha256:" + "d" * 64),
    ],
)
def test_names_are_compared_in_one_form(name: str, expected: str) -> None:
    assert normalize(name) == expected
