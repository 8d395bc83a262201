"""Archives that no honest program writes, as raw bytes, and what becomes of each.

Every builder takes the path of a directory outside of the restored one, to aim at it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from cacher.errors import CacherError, IntegrityError, LocalError
from cacher.tar.writer import TIME_HEADER
from cacher.tree.unpack import UnpackOptions

END = bytes(1024)

FILE, LINK, SYMLINK, CHARACTER, DEVICE, DIRECTORY, FIFO = (b"%d" % n for n in range(7))

USTAR, GNU, V7 = b"ustar\x0000", b"ustar  \0", bytes(8)


def member(
    name: bytes,
    content: bytes = b"",
    kind: bytes = FILE,
    *,
    link: bytes = b"",
    mode: int = 0o644,
    size: bytes | None = None,
    mtime: bytes = b"%011o\0" % 1_600_000_000,
    owner: bytes = b"0000000\0",
    magic: bytes = USTAR,
    prefix: bytes = b"",
    total: bytes | None = None,
    signed: bool = False,
) -> bytes:
    """A header and its content. `size`, `mtime`, `owner` and `total` are raw fields."""
    block = bytearray(512)

    def put(start: int, value: bytes) -> None:
        block[start : start + len(value)] = value

    put(0, name)
    put(100, b"%07o\0" % mode)
    put(108, owner)
    put(116, owner)
    put(124, b"%011o\0" % len(content) if size is None else size)
    put(136, mtime)
    put(148, b" " * 8)
    put(156, kind)
    put(157, link)
    put(257, magic)
    put(345, prefix)
    summed = sum(byte - 256 if signed and byte > 127 else byte for byte in block)
    put(148, b"%06o\0 " % summed if total is None else total)
    return bytes(block) + content + bytes(-len(content) % 512)


def directory(name: bytes, mode: int = 0o755) -> bytes:
    return member(name, kind=DIRECTORY, mode=mode)


def symlink(name: bytes, target: bytes) -> bytes:
    return member(name, kind=SYMLINK, link=target, mode=0o777)


def hard_link(name: bytes, target: bytes) -> bytes:
    return member(name, kind=LINK, link=target)


def record(key: bytes, value: bytes) -> bytes:
    """`LENGTH KEY=VALUE\\n`."""
    rest = len(key) + len(value) + 3
    length = rest + len(str(rest))
    while rest + len(str(length)) != length:
        length = rest + len(str(length))
    return b"%d %b=%b\n" % (length, key, value)


def pax(*records: tuple[bytes, bytes], kind: bytes = b"x", name: bytes = b"pax/evil") -> bytes:
    """An extended header for the next member, or with the kind `g` for all that follow."""
    return member(name, b"".join(record(*pair) for pair in records), kind)


def long_name(name: bytes, kind: bytes = b"L") -> bytes:
    """GNU's way to tell of a long name, or with the kind `K` of a long target."""
    return member(b"././@LongLink", name + b"\0", kind, magic=GNU)


TIME = TIME_HEADER + record(b"mtime", b"1600000000.123456789").ljust(512, b"\0")
"""A time as we write it: with the header after it, it is read in a shorter way."""


def signed_field(block: bytes) -> bytes:
    """The same header, its sum right, but written as no program does."""
    return block[:148] + b"+%05o\0 " % int(block[148:154], 8) + block[156:]


def binary(value: int, size: int = 12) -> bytes:
    """GNU's binary form of a number."""
    bits = 8 * size
    return ((value & ((1 << (bits - 1)) - 1)) | 1 << (bits - 1)).to_bytes(size, "big")


def negative(value: int, size: int = 12) -> bytes:
    """The same for one below zero: all bits up to its own are set."""
    return (value & ((1 << (8 * size)) - 1)).to_bytes(size, "big")


@dataclass(frozen=True)
class Evil:
    """An archive that is refused, with words of the message: the member's name and the reason."""

    build: Callable[[bytes], bytes]
    says: tuple[str, ...]
    error: type[CacherError] = IntegrityError
    wanted: UnpackOptions = field(default_factory=UnpackOptions)


def _evil(
    data: bytes | Callable[[bytes], bytes],
    *says: str,
    error: type[CacherError] = IntegrityError,
    wanted: UnpackOptions | None = None,
) -> Evil:
    build = data if callable(data) else lambda _outside: data
    return Evil(lambda outside: build(outside) + END, says, error, wanted or UnpackOptions())


_DAMAGED = "the header of a member is damaged"
"""Without the member's name: where the sum is wrong its bytes may be anything."""

REFUSED: dict[str, Evil] = {
    # Names that lead out of the directory.
    "absolute": _evil(lambda outside: member(outside + b"/evil", b"x"), "evil: ", "absolute"),
    "absolute twice": _evil(lambda outside: member(b"/" + outside + b"/evil"), "evil: "),
    "absolute directory": _evil(lambda outside: directory(outside + b"/"), "absolute"),
    "absolute in pax": _evil(
        lambda outside: pax((b"path", outside + b"/evil")) + member(b"good"), "evil: ", "absolute"
    ),
    "absolute in a prefix": _evil(lambda o: member(b"evil", prefix=b"/tmp"), "/tmp/evil: "),
    "slash": _evil(member(b"/"), "/: ", "absolute"),
    "upwards": _evil(member(b"../outside/evil", b"x"), "../outside/evil: ", "upwards"),
    "upwards in the middle": _evil(directory(b"a") + member(b"a/../../evil"), "evil: ", "upwards"),
    "upwards at the end": _evil(directory(b"a/.."), "a/..: ", "upwards"),
    "upwards and stripped": _evil(
        member(b"../a/evil"), "../a/evil: ", "upwards", wanted=UnpackOptions(strip=1)
    ),
    "upwards and not wanted": _evil(
        member(b"../evil"), "../evil: ", "upwards", wanted=UnpackOptions(only=["good"])
    ),
    "upwards in pax": _evil(pax((b"path", b"../evil")) + member(b"good"), "../evil: ", "upwards"),
    "upwards in global pax": _evil(
        pax((b"path", b"../evil"), kind=b"g") + member(b"good"), "../evil: "
    ),
    "upwards in a long name": _evil(
        long_name(b"a/" * 60 + b"../" * 62 + b"evil") + member(b"good"), "evil: ", "upwards"
    ),
    "upwards in a prefix": _evil(member(b"evil", prefix=b"../outside"), "../outside/evil: "),
    "no name": _evil(member(b""), "a member without a name: ", "empty"),
    "no name in a long name": _evil(long_name(b"") + member(b"good"), "without a name"),
    "nul": _evil(pax((b"path", b"evil\0good")) + member(b"good"), "pax/evil: ", "NUL"),
    "nul in a target": _evil(
        pax((b"linkpath", b"evil\0good")) + symlink(b"good", b"x"), "pax/evil: ", "NUL"
    ),
    "a file for the root": _evil(member(b"."), ".: ", "root"),
    "a symlink for the root": _evil(symlink(b".", b"/tmp"), ".: ", "root"),
    "300 bytes": _evil(
        pax((b"path", b"n" * 300)) + member(b"good"), "nnn", "too long", error=LocalError
    ),
    # Links that the archive made, then used.
    "below a symlink": _evil(
        lambda outside: symlink(b"l", outside) + member(b"l/evil", b"x"),
        "l/evil: ",
        "not a directory",
    ),
    "below a symlink upwards": _evil(
        symlink(b"l", b"../outside") + member(b"l/evil", b"x"), "l/evil: ", "not a directory"
    ),
    "a directory below a symlink": _evil(
        lambda outside: symlink(b"l", outside) + directory(b"l/evil/"),
        "l/evil/: ",
        "not a directory",
    ),
    "a directory over a symlink": _evil(
        lambda outside: symlink(b"l", outside) + directory(b"l/", 0o777), "l/: ", "not a directory"
    ),
    "below a symlink with a slash": _evil(
        lambda outside: symlink(b"l/", outside) + member(b"l/evil", b"x"), "l/evil: ", "directory"
    ),
    "below a symlink with a dot": _evil(
        lambda outside: symlink(b"l/.", outside) + member(b"l/evil", b"x"), "l/evil: ", "directory"
    ),
    "below a symlink to the root": _evil(
        symlink(b"l", b".") + member(b"l/evil", b"x"), "l/evil: ", "not a directory"
    ),
    "below a chain": _evil(
        symlink(b"a", b"b") + symlink(b"b", b"..") + member(b"a/outside/evil"), "a/outside/evil: "
    ),
    "below a loop": _evil(
        symlink(b"a", b"b") + symlink(b"b", b"a") + member(b"a/evil"), "a/evil: ", "not a directory"
    ),
    "below a symlink inside": _evil(
        directory(b"d") + symlink(b"d/l", b"../..") + member(b"d/l/evil"), "d/l/evil: "
    ),
    "below a file": _evil(
        member(b"f", b"x") + member(b"f/evil", b"x"), "f/evil: ", "not a directory"
    ),
    "below a file with a dot": _evil(member(b"f/.") + member(b"f/evil"), "f/evil: ", "directory"),
    "below a hard link": _evil(
        symlink(b"s", b"/tmp") + hard_link(b"h", b"s") + member(b"h/evil"), "h/evil: ", "directory"
    ),
    # A link in the place of a directory that was there.
    "a symlink over a directory": _evil(
        directory(b"evil/") + symlink(b"evil", b"/tmp"), "evil: ", "there is a directory"
    ),
    "a symlink over a full one": _evil(
        member(b"evil/f") + symlink(b"evil", b"/tmp") + member(b"evil/g"), "evil: ", "a directory"
    ),
    "a file over a directory": _evil(directory(b"evil/") + member(b"evil"), "evil: ", "directory"),
    "a hard link over a directory": _evil(
        member(b"f") + directory(b"evil/") + hard_link(b"evil", b"f"), "evil: ", "a directory"
    ),
    # Hard links.
    "hard link to outside": _evil(
        lambda outside: hard_link(b"evil", outside + b"/secret"), "evil: ", "absolute"
    ),
    "hard link upwards": _evil(
        hard_link(b"evil", b"../outside/secret") + member(b"evil", b"x"), "evil: ", "upwards"
    ),
    "hard link upwards in pax": _evil(
        pax((b"linkpath", b"../outside/secret")) + hard_link(b"evil", b"good"), "evil: ", "upwards"
    ),
    "hard link upwards in a long name": _evil(
        long_name(b"../" * 40 + b"evil", b"K") + hard_link(b"evil", b"x"), "evil: ", "upwards"
    ),
    "hard link through a symlink": _evil(
        lambda outside: symlink(b"l", outside) + hard_link(b"evil", b"l/secret"),
        "evil: ",
        "not an earlier member",
    ),
    "hard link through a chain": _evil(
        symlink(b"a", b"b") + symlink(b"b", b"../outside") + hard_link(b"evil", b"a/secret"),
        "evil: ",
        "not an earlier member",
    ),
    "hard link to nothing": _evil(
        hard_link(b"evil", b"nothing"), "evil: ", "not an earlier member"
    ),
    "hard link without a target": _evil(hard_link(b"evil", b""), "evil: ", "empty"),
    "hard link to itself": _evil(hard_link(b"evil", b"evil"), "evil: ", "not an earlier member"),
    "hard link to a directory": _evil(
        directory(b"d/") + hard_link(b"evil", b"d"), "evil: ", "to a directory"
    ),
    "hard link to the root": _evil(hard_link(b"evil", b"."), "evil: "),
    "symlink without a target": _evil(symlink(b"evil", b""), "evil: ", "nothing"),
    # What is no file.
    "character device": _evil(member(b"evil", kind=CHARACTER), "evil: ", "device"),
    "block device": _evil(member(b"evil", kind=DEVICE), "evil: ", "device"),
    "device that is not wanted": _evil(
        member(b"evil", kind=DEVICE), "evil: ", "device", wanted=UnpackOptions(only=["good"])
    ),
    "unknown type": _evil(member(b"evil", kind=b"Z"), "evil: ", "type", "'Z'"),
    "other volume": _evil(member(b"evil", kind=b"M", magic=GNU), "evil: ", "several volumes"),
    "dump of a directory": _evil(
        member(b"evil", kind=b"D", magic=GNU), "evil: ", "--listed-incremental"
    ),
    "sparse": _evil(member(b"evil", kind=b"S", magic=GNU), "evil: ", "sparse members are not"),
    "sparse in pax": _evil(
        pax((b"GNU.sparse.major", b"1"), (b"GNU.sparse.name", b"evil"))
        + member(b"GNUSparseFile.0/evil"),
        "evil: ",
        "sparse members are not",
    ),
    "sparse in pax, old": _evil(
        pax((b"GNU.sparse.size", b"9"), (b"GNU.sparse.numblocks", b"0")) + member(b"evil"),
        "evil: ",
        "sparse members are not",
    ),
    # Numbers.
    "negative size": _evil(member(b"evil", size=negative(-512)), "evil: ", "below zero"),
    "most negative size": _evil(member(b"evil", size=b"\xc0" + bytes(11)), "evil: ", "below zero"),
    "huge size": _evil(member(b"evil", size=binary(1 << 90)), "evil: ", "more than"),
    "largest octal size": _evil(
        member(b"evil", size=b"77777777777\0"),
        "evil: ",
        "more than 1048576 bytes",
        wanted=UnpackOptions(max_size=1 << 20),
    ),
    "twelve digits of size": _evil(
        member(b"evil", size=b"7" * 12),
        "evil: ",
        "more than",
        wanted=UnpackOptions(max_size=1 << 20),
    ),
    "size of letters": _evil(member(b"evil", size=b"0000000000x\0"), "evil: ", "number"),
    "size with a sign": _evil(member(b"evil", size=b"-0000000512\0"), "evil: ", "number"),
    "size with a line": _evil(member(b"evil", size=b"0000_000512\0"), "evil: ", "number"),
    "size beyond octal": _evil(member(b"evil", size=b"00000000008\0"), "evil: ", "number"),
    "size in pax": _evil(pax((b"size", b"9" * 20)) + member(b"evil"), "evil: ", "more than"),
    "negative size in pax": _evil(pax((b"size", b"-512")) + member(b"evil"), "evil: ", "size"),
    "letters in pax": _evil(pax((b"size", b"1e3")) + member(b"evil"), "evil: ", "size"),
    "size of a 100 digits in pax": _evil(
        pax((b"size", b"9" * 100)) + member(b"evil"), "evil: ", "size"
    ),
    "negative size of a label": _evil(
        member(b"evil", kind=b"V", size=negative(-512), magic=GNU), "evil: ", "label"
    ),
    "negative size of a pax header": _evil(
        member(b"evil", kind=b"x", size=negative(-512)) + member(b"good"), "evil: ", "header"
    ),
    "negative size of a long name": _evil(
        member(b"evil", kind=b"L", size=negative(-512)) + member(b"good"), "evil: ", "header"
    ),
    "mtime beyond any": _evil(member(b"evil", mtime=binary(1 << 90)), "evil: ", "mtime"),
    "mtime before any": _evil(member(b"evil", mtime=negative(-1 << 90)), "evil: ", "mtime"),
    "mtime of letters in pax": _evil(pax((b"mtime", b"now")) + member(b"evil"), "evil: ", "mtime"),
    "mtime without seconds": _evil(pax((b"mtime", b".5")) + member(b"evil"), "evil: ", "mtime"),
    "mtime of a 100 digits": _evil(
        pax((b"mtime", b"9" * 100)) + member(b"evil"), "evil: ", "mtime"
    ),
    "owner beyond any": _evil(
        member(b"evil", owner=binary(1 << 40, 8)),
        "evil: ",
        "owner",
        wanted=UnpackOptions(keep_owner=True),
    ),
    "owner that means none": _evil(
        symlink(b"good", b"x") + pax((b"uid", b"%d" % (2**32 - 1))) + symlink(b"evil", b"x"),
        "evil: ",
        "owner",
        wanted=UnpackOptions(keep_owner=True),
    ),
    # Headers.
    "wrong sum": _evil(member(b"evil", total=b"000001\0 "), _DAMAGED),
    "no sum": _evil(member(b"evil", total=b" " * 8), _DAMAGED),
    "sum with a sign": _evil(signed_field(member(b"evil")), _DAMAGED),
    "negative sum": _evil(member(b"evil", total=b"-00001\0 "), _DAMAGED),
    "wrong sum of a pax header": _evil(
        member(b"evil", record(b"path", b"x"), b"x", total=b"000001\0 ") + member(b"good"),
        _DAMAGED,
    ),
    "text": _evil(b"this is evil no archive".ljust(512, b"."), _DAMAGED),
    "pax header of 1 GiB": _evil(
        member(b"evil", kind=b"x", size=b"%011o\0" % (1 << 30)), "evil: ", "1073741824 bytes"
    ),
    "long name of 1 GiB": _evil(
        member(b"evil", kind=b"L", size=b"%011o\0" % (1 << 30)), "evil: ", "1073741824 bytes"
    ),
    "global header beyond any": _evil(
        member(b"evil", kind=b"g", size=binary(1 << 90)), "evil: ", "extended header of"
    ),
    "record without a length": _evil(
        member(b"evil", b"path=x\n", b"x") + member(b"good"), "evil: ", "malformed"
    ),
    "record that is too long": _evil(
        member(b"evil", b"99 path=x\n", b"x") + member(b"good"), "evil: ", "malformed"
    ),
    "record that is too short": _evil(
        member(b"evil", b"3 path=x\n", b"x") + member(b"good"), "evil: ", "malformed"
    ),
    "record of no length": _evil(
        member(b"evil", b"0 path=x\n", b"x") + member(b"good"), "evil: ", "malformed"
    ),
    "record without a value": _evil(
        member(b"evil", b"7 path\n", b"x") + member(b"good"), "evil: ", "malformed"
    ),
    "record without an end": _evil(
        member(b"evil", b"9 path=xy", b"x") + member(b"good"), "evil: ", "malformed"
    ),
    # Too much.
    "bomb of one file": _evil(
        member(b"evil", bytes(200_000)), "100000 bytes", wanted=UnpackOptions(max_size=100_000)
    ),
    "bomb of many files": _evil(
        b"".join(member(b"evil%d" % n, b"x") for n in range(200)),
        "100000",
        wanted=UnpackOptions(max_size=100_000),
    ),
    "bomb of zeros": _evil(
        member(b"good") + bytes(200_000), "100000", wanted=UnpackOptions(max_size=100_000)
    ),
    "bomb of what is not wanted": _evil(
        member(b"evil", bytes(200_000)),
        "100000 bytes",
        wanted=UnpackOptions(max_size=100_000, only=["good"]),
    ),
    # After the end.
    "member after the end": _evil(member(b"good") + END + member(b"evil"), "end of the archive"),
}


HARMLESS: dict[str, tuple[bytes, dict[bytes, bytes]]] = {
    # What is restored, and what is there then: contents of files, targets after an arrow.
    "duplicates": (member(b"f", b"old") + member(b"f", b"new"), {b"f": b"new"}),
    "a file over a symlink": (
        symlink(b"f", b"../outside/secret") + member(b"f", b"new"),
        {b"f": b"new"},
    ),
    "a symlink over a file": (member(b"f", b"x") + symlink(b"f", b"/etc"), {b"f": b"-> /etc"}),
    "a symlink over a symlink": (symlink(b"f", b"a") + symlink(b"f", b"b"), {b"f": b"-> b"}),
    "a write over one of two names": (
        member(b"f", b"old") + hard_link(b"g", b"f") + member(b"g", b"new"),
        {b"f": b"old", b"g": b"new"},
    ),
    "hard link to a symlink, then a write": (
        symlink(b"s", b"../outside/secret") + hard_link(b"h", b"s") + member(b"h", b"new"),
        {b"s": b"-> ../outside/secret", b"h": b"new"},
    ),
    "hard link to a symlink": (
        symlink(b"s", b"../outside/secret") + hard_link(b"h", b"s"),
        {b"s": b"-> ../outside/secret", b"h": b"-> ../outside/secret"},
    ),
    "hard link over a symlink": (
        symlink(b"s", b"../outside/secret") + member(b"f", b"x") + hard_link(b"s", b"f"),
        {b"f": b"x", b"s": b"x"},
    ),
    "hard link over its own target": (
        member(b"f", b"x") + hard_link(b"g", b"f") + hard_link(b"g", b"f"),
        {b"f": b"x", b"g": b"x"},
    ),
    "hard link to what it is": (member(b"f", b"x") + hard_link(b"f", b"./f"), {b"f": b"x"}),
    "links that lead anywhere": (
        symlink(b"a", b"/") + symlink(b"b", b"../../..") + symlink(b"c", b"c"),
        {b"a": b"-> /", b"b": b"-> ../../..", b"c": b"-> c"},
    ),
    "dots and slashes": (
        directory(b"./") + directory(b".//a//") + member(b"./a/.//f", b"x") + member(b"a/g", b"y"),
        {b"a/f": b"x", b"a/g": b"y"},
    ),
    "a directory by a slash alone": (
        directory(b"a/") + member(b"a/b/") + member(b"a/b/c", b"x"),
        {b"a/b/c": b"x"},
    ),
    "sizes of what has no content": (
        member(b"d", kind=DIRECTORY, size=b"%011o\0" % 512, mode=0o755)
        + member(b"s", kind=SYMLINK, size=b"%011o\0" % 512, link=b"x")
        + member(b"p", kind=FIFO, size=b"%011o\0" % 512)
        + member(b"f", b"x")
        + member(b"h", kind=LINK, size=b"%011o\0" % 512, link=b"f")
        + member(b"g", b"y"),
        {b"s": b"-> x", b"f": b"x", b"h": b"x", b"g": b"y"},
    ),
    "hard link with a content": (
        pax((b"mtime", b"1.5"))
        + member(b"f", b"x")
        + member(b"h", member(b"evil", b"x" * 600), LINK, link=b"f")
        + member(b"g", b"y"),
        {b"f": b"x", b"h": b"x", b"g": b"y"},
    ),
    "size in pax over the header's": (
        pax((b"size", b"600"))
        + member(b"f", member(b"evil") + b"x" * 88, size=b"%011o\0" % 0)
        + member(b"g", b"y"),
        {b"f": member(b"evil") + b"x" * 88, b"g": b"y"},
    ),
    "fifo": (member(b"p", kind=FIFO) + member(b"f", b"x"), {b"f": b"x"}),
    "nothing": (b"", {}),
}
