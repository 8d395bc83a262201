"""Headers of members: what Python's tarfile reads from them, however the stream is cut."""

from __future__ import annotations

import io
import tarfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cacher.errors import IntegrityError
from cacher.tar import header_fields
from cacher.tar.header_fields import printable
from cacher.tar.reader import TarReader
from tests.support.evil_archives import (
    END,
    GNU,
    LINK,
    TIME,
    USTAR,
    V7,
    binary,
    long_name,
    member,
    negative,
    pax,
    symlink,
)
from tests.support.tar_helpers import pieces

SECOND = 1_000_000_000
LIMIT = 1 << 50
Fields = tuple[bytes, bytes, int, int, int, bytes, int, int]
STEPS = [1, 100, 512, 1000, 1536, 1 << 20]


def read(data: bytes, step: int = 1 << 20, limit: int = LIMIT) -> list[tuple[Fields, bytes]]:
    """All members, each with its content, which is taken whole, in pieces or skipped by turns."""
    archive = TarReader(pieces(data, step), limit)
    found: list[tuple[Fields, bytes]] = []
    while (one := archive.next()) is not None:
        content = b""
        whole = archive.contiguous(one.size) if len(found) % 2 else None
        if whole is not None:
            content = bytes(whole)
        else:
            content = b"".join(map(bytes, archive.chunks(one.size)))
        fields = (one.name, one.kind, one.mode, one.size, one.mtime_ns, one.link, one.uid, one.gid)
        found.append((fields, content))
    return found


def first(data: bytes, step: int = 1 << 20) -> Fields:
    return read(data + END, step)[0][0]


def by_tarfile(data: bytes) -> list[tuple[Fields, bytes]]:
    """The same from the oracle, where times are floats: exact for quarters of a second."""
    found: list[tuple[Fields, bytes]] = []
    with tarfile.open(fileobj=io.BytesIO(data), errors="surrogateescape") as archive:
        for info in archive:
            name = info.name.encode(errors="surrogateescape") + b"/" * info.isdir()
            link = info.linkname.encode(errors="surrogateescape")
            kind = header_fields.FILE if info.isreg() else info.type
            nanoseconds = round(info.mtime * 4) * SECOND // 4
            content = archive.extractfile(info).read() if info.isreg() else b""  # type: ignore[union-attr]
            size = info.size if info.isreg() else 0
            mode = info.mode & 0o7777
            found.append(((name, kind, mode, size, nanoseconds, link, info.uid, info.gid), content))
    return found


TEXT = st.binary(min_size=1, max_size=300).filter(lambda name: 0 not in name)
NAMES = TEXT.map(lambda name: name.strip(b"/") or b"x")
IDS = st.integers(0, 2**32)


@st.composite
def infos(draw: st.DrawFn, form: int) -> tuple[tarfile.TarInfo, bytes]:
    info = tarfile.TarInfo(draw(NAMES).decode(errors="surrogateescape"))
    info.type = draw(
        st.sampled_from([tarfile.REGTYPE, tarfile.DIRTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE])
    )
    info.mode = draw(st.integers(0, 0o7777))
    info.uid, info.gid = draw(IDS), draw(IDS)
    times = st.integers(-(2**33), 2**39)
    if form == tarfile.PAX_FORMAT:
        info.mtime = draw(times | st.integers(0, 2**34).map(lambda n: n / 4))
    else:
        info.mtime = draw(times)
    if info.type in (tarfile.SYMTYPE, tarfile.LNKTYPE):
        info.linkname = draw(TEXT).decode(errors="surrogateescape")
    content = draw(st.binary(max_size=1200)) if info.isreg() else b""
    info.size = len(content)
    return info, content


@st.composite
def archives(draw: st.DrawFn) -> bytes:
    form = draw(st.sampled_from([tarfile.PAX_FORMAT, tarfile.GNU_FORMAT]))
    target = io.BytesIO()
    with tarfile.open(
        fileobj=target, mode="w", format=form, errors="surrogateescape", encoding="utf-8"
    ) as archive:
        for info, content in draw(st.lists(infos(form), max_size=5)):
            archive.addfile(info, io.BytesIO(content))
    return target.getvalue()


@given(data=archives(), step=st.sampled_from(STEPS))
def test_members_equal_those_of_tarfile(data: bytes, step: int) -> None:
    assert read(data, step) == by_tarfile(data)


@given(data=archives(), cut=st.floats(0, 1), step=st.sampled_from(STEPS))
def test_a_part_of_an_archive_is_refused(data: bytes, cut: float, step: int) -> None:
    end = len(data.rstrip(b"\0"))
    part = data[: int((end + 511) // 512 * 512 * cut)]
    with pytest.raises(IntegrityError, match="the archive is cut off"):
        read(part, step)


@given(junk=st.binary(max_size=2000), step=st.sampled_from(STEPS))
def test_noise_is_refused(junk: bytes, step: int) -> None:
    if junk[:512].count(0) == 512:
        junk = b"x" + junk[1:]
    with pytest.raises(IntegrityError):
        read(junk, step)


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("magic", [USTAR, GNU, V7])
def test_an_archive_of_each_kind(magic: bytes, step: int) -> None:
    data = (
        member(b"d/", kind=b"5", mode=0o755, magic=magic)
        + member(b"d/f", b"x" * 600, mode=0o4711, magic=magic)
        + member(b"s", kind=b"2", link=b"l" * 100, magic=magic)
        + member(b"n" * 100, b"y", kind=b"\0", magic=magic)
        + member(b"c", b"z", kind=b"7", magic=magic)
    )
    found = read(data + END, step)
    assert [fields[0] for fields, _ in found] == [b"d/", b"d/f", b"s", b"n" * 100, b"c"]
    assert [fields[1] for fields, _ in found] == [b"5", b"0", b"2", b"0", b"0"]
    assert [content for _, content in found] == [b"", b"x" * 600, b"", b"y", b"z"]
    assert (found[1][0][2], found[2][0][5]) == (0o4711, b"l" * 100)


def test_v7_tells_a_directory_by_its_slash() -> None:
    assert first(member(b"d/", kind=b"\0", magic=V7))[1] == header_fields.DIRECTORY


def test_only_posix_has_prefixes() -> None:
    assert first(member(b"n", prefix=b"a/b"))[0] == b"a/b/n"
    assert first(member(b"n" * 100, prefix=b"p" * 155))[0] == b"p" * 155 + b"/" + b"n" * 100
    assert first(member(b"n", prefix=b"12345", magic=GNU))[0] == b"n"
    assert first(member(b"n", prefix=b"12345", magic=V7))[0] == b"n"


@pytest.mark.parametrize("length", [1, 100, 101, 255, 256, 511, 512, 513, 5000])
@pytest.mark.parametrize("step", [1, 512, 1 << 20])
def test_long_names_and_targets(length: int, step: int) -> None:
    name, target = b"n" * length, b"t" * length
    gnu = long_name(target, b"K") + long_name(name) + symlink(b"short", b"short")
    fields = first(gnu, step)
    assert (fields[0], fields[5]) == (name, target)
    fields = first(pax((b"path", name), (b"linkpath", target)) + symlink(b"short", b"short"), step)
    assert (fields[0], fields[5]) == (name, target)


def test_an_extended_header_may_have_a_mebibyte() -> None:
    name = b"n" * ((1 << 20) - 1)
    assert first(long_name(name) + member(b"short"))[0] == name
    with pytest.raises(IntegrityError, match="an extended header of 1048577 bytes"):
        first(long_name(name + b"n") + member(b"short"))


def test_an_extended_header_is_of_the_next_member_alone() -> None:
    data = pax((b"path", b"long")) + member(b"a") + member(b"b")
    assert [fields[0] for fields, _ in read(data + END)] == [b"long", b"b"]


def test_a_global_header_is_of_all_that_follow() -> None:
    data = (
        member(b"a")
        + pax((b"mtime", b"5"), (b"uid", b"7"), kind=b"g")
        + member(b"b")
        + pax((b"mtime", b"6.5"))
        + member(b"c")
        + TIME
        + member(b"d")
        + pax((b"mtime", b"8"), kind=b"g")
        + member(b"e")
    )
    found = [fields for fields, _ in read(data + END)]
    assert [fields[4] for fields in found] == [
        1_600_000_000 * SECOND,
        5 * SECOND,
        6_500_000_000,
        1_600_000_000_123_456_789,
        8 * SECOND,
    ]
    assert [fields[6] for fields in found] == [0, 7, 7, 7, 7]


@pytest.mark.parametrize("step", [512, 1536, 1 << 20])
def test_a_time_as_we_write_it(step: int) -> None:
    data = TIME + member(b"f", b"x") + TIME + member(b"d/", kind=b"5") + member(b"g")
    found = [fields for fields, _ in read(data + END, step)]
    assert [fields[0] for fields in found] == [b"f", b"d/", b"g"]
    exact = 1_600_000_000_123_456_789
    assert [fields[4] for fields in found] == [exact, exact, 1_600_000_000 * SECOND]


def test_records_that_mean_nothing_here() -> None:
    records = (
        (b"atime", b"1"),
        (b"comment", b"=\n="),
        (b"hdrcharset", b"BINARY"),
        (b"SCHILY.xattr.user.x", b"a\0b"),
        (b"LIBARCHIVE.creationtime", b"soon"),
        (b"path", b"\xff=\n"),
        (b"uname", b""),
    )
    assert first(pax(*records) + member(b"f"))[0] == b"\xff=\n"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (b"0", 0),
        (b"1.5", 1_500_000_000),
        (b"1.", 1_000_000_000),
        (b"-1", -1_000_000_000),
        (b"-1.5", -1_500_000_000),
        (b"-0.000000001", -1),
        (b"1.0000000019", 1_000_000_001),
        (b"1.123456789", 1_123_456_789),
        (b"999999999999.999999999", 999_999_999_999_999_999_999),
    ],
)
def test_times(text: bytes, expected: int) -> None:
    assert first(pax((b"mtime", text)) + member(b"f"))[4] == expected


@pytest.mark.parametrize("text", [b"x", b"", b"-", b".", b"1.x", b"1e3", b"+1", b"--1", b" 1"])
def test_a_malformed_time_is_refused(text: bytes) -> None:
    data = pax((b"mtime", text)) + member(b"f")
    if not text:  # an empty value is as good as none
        assert first(data)[4] == 1_600_000_000 * SECOND
        return
    with pytest.raises(IntegrityError, match="f: its mtime is not a valid time"):
        first(data)


@pytest.mark.parametrize(
    ("field", "expected"),
    [
        (b"00000000017\0", 15),
        (b"00000000017 ", 15),
        (b"         17 ", 15),
        (b"17\0" + bytes(9), 15),
        (b"000000000017", 15),
        (bytes(12), 0),
        (b" " * 12, 0),
        (binary(15), 15),
        (binary(1 << 40), 1 << 40),
    ],
)
def test_sizes(field: bytes, expected: int) -> None:
    archive = TarReader(pieces(member(b"f", size=field) + bytes(512)), LIMIT)
    one = archive.next()
    assert one is not None
    assert one.size == expected


@pytest.mark.parametrize("seconds", [-1, -(2**33), 0, 2**33, 2**36, 10**12])
def test_times_in_binary(seconds: int) -> None:
    field = binary(seconds) if seconds >= 0 else negative(seconds)
    assert first(member(b"f", mtime=field))[4] == seconds * SECOND


def test_sums_are_of_unsigned_bytes_or_signed_ones() -> None:
    name = b"\xff" * 100
    assert first(member(name))[0] == name
    assert first(member(name, signed=True))[0] == name


def test_checksums_beyond_the_range_of_adler() -> None:
    name, link = b"\xff" * 100, b"\xfe" * 100
    fields = first(member(name, kind=b"2", link=link, prefix=b"\xfd" * 155))
    assert fields[0] == b"\xfd" * 155 + b"/" + name


@pytest.mark.parametrize("at", range(0, 512, 7))
def test_any_changed_byte_of_a_header_shows(at: int) -> None:
    data = bytearray(member(b"f", b"x", prefix=b"p") + END)
    data[at] ^= 1
    with pytest.raises(IntegrityError):
        read(bytes(data))


def test_types_without_content_have_none_whatever_their_size() -> None:
    size = b"%011o\0" % 512
    for kind in (b"1", b"2", b"3", b"4", b"5", b"6"):
        data = member(b"f", kind=kind, size=size, link=b"x") + member(b"g", b"x")
        assert [fields[0] for fields, _ in read(data + END)] == [b"f", b"g"]


def test_a_hard_link_may_have_a_content_in_the_pax_format() -> None:
    linked = member(b"h", b"x" * 700, LINK, link=b"f")
    found = read(pax((b"mtime", b"1.5")) + member(b"f") + linked + member(b"g", b"y") + END)
    assert [content for _, content in found] == [b"", b"x" * 700, b"y"]


def test_a_volume_label_is_skipped() -> None:
    data = member(b"label", kind=b"V", magic=GNU) + member(b"f")
    assert first(data)[0] == b"f"


@pytest.mark.parametrize("blocks", [1, 2, 3, 20, 5000])
def test_an_end_may_be_long(blocks: int) -> None:
    assert len(read(member(b"f", b"x") + bytes(512 * blocks))) == 1


@pytest.mark.parametrize("step", [1, 512, 1 << 20])
def test_the_limit_counts_the_whole_stream(step: int) -> None:
    data = member(b"f", b"x" * 600) + END
    assert len(read(data, step, len(data))) == 1
    with pytest.raises(IntegrityError, match=f"more than {len(data) - 1} bytes"):
        read(data, step, len(data) - 1)


def test_a_size_beyond_the_limit_is_refused_at_once() -> None:
    """Not one byte of a bomb is taken."""
    asked = 0
    given = pieces(member(b"a", b"x") + member(b"bomb", size=b"%011o\0" % 100_000), 512)

    def feed() -> memoryview:
        nonlocal asked
        asked += 1
        return given()

    archive = TarReader(feed, 100_000)
    one = archive.next()
    assert one is not None
    archive.skip(one.size)
    with pytest.raises(IntegrityError, match="bomb: it unpacks to more than 100000 bytes"):
        archive.next()
    assert asked == 3


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        (b"a/b", "a/b"),
        ("é".encode(), "é"),
        (b"\xff", "\\xff"),
        (b"", "a member without a name"),
        (b"n" * 300, "n" * 100 + "…" + "n" * 99),
        (b"a\nb\x1b[31mc\r\x7f", "a\\nb\\x1b[31mc\\r\\x7f"),
        ("\u202egnp.exe".encode(), "\\u202egnp.exe"),
    ],
)
def test_names_are_shown_on_one_line(name: bytes, expected: str) -> None:
    assert printable(name) == expected
