"""Globs of paths, and the lines of a .gitignore, held against git itself."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from cacher.errors import UsageError
from cacher.tree.patterns import GitignorePatterns, IncludePatterns
from tests.support.servers.programs import require


@pytest.mark.parametrize(
    ("pattern", "path", "expected"),
    [
        ("a", "a", True),
        ("a", "a/b/c", True),
        ("a", "ab", False),
        ("a", "b/a", False),
        ("./a/", "a", True),
        (".//a", "a", True),
        ("a//b/./c", "a/b/c", True),
        ("a/b", "a", False),
        ("*.js", "x.js", True),
        ("*.js", "d/x.js", False),
        ("*.js", ".js", True),
        ("*/x", "d/x", True),
        ("*/x", "d/e/x", False),
        ("**/x", "x", True),
        ("**/x", "d/e/x/y", True),
        ("**/x", "d/ex", False),
        ("a/**", "a", False),
        ("a/**", "a/b/c", True),
        ("a/**/b", "a/b", True),
        ("a/**/b", "a/x/y/b", True),
        ("a/**/b", "ab", False),
        ("?", "a", True),
        ("?", "ab", False),
        ("a?b", "a/b", False),
        ("[ab]", "b", True),
        ("[!ab]", "b", False),
        ("[!ab]", "c", True),
        ("[^ab]", "c", True),
        ("a[!x]b", "a/b", False),
        ("a[/]b", "a/b", False),
        ("[a-c]", "b", True),
        ("[]]", "]", True),
        ("[[:digit:]x]", "7", True),
        ("[[:nonsense:]]", "n", False),
        ("[a", "[a", False),
        ("[c-a]", "b", False),
        ("[c-a]", "c", True),
        (r"\*", "*", True),
        (r"\*", "a", False),
        (r"[\]]", "]", True),
        ("a+b.c", "a+b.c", True),
        ("a+b.c", "aab.c", False),
        ("é?", "é\udcff", True),
        ("*", "new\nline", True),
        ("a", "a\n", False),
        ("...", "...", True),
        ("*a*b*", "xaxxb", True),
        ("*a*b*", "xbxxa", False),
        ("*ab*ab", "aab", False),
        ("*ab*ab", "aabaab", True),
        ("a*/b", "ab/ab", False),
        ("**/a/b/**/c", "a/a/b/c", True),
        ("**/a/b/**/c", "a/b/x/a/c/d", True),
        ("**/a/b/**/c", "a/x/b/c", False),
        ("**/a/**/b", "a/b/a/c", True),
        ("**/a/**/b/**/c/d", "x/a/b/c/d/a/c/b", True),
        ("**/a/**", "b/a", False),
        ("**/**/a", "a", True),
        ("**/a*b/**/**/c", "ab/abb/cc/c", True),
    ],
)
def test_globs(pattern: str, path: str, expected: bool) -> None:
    assert IncludePatterns([pattern]).matches(os.fsencode(path)) is expected


@pytest.mark.parametrize("pattern", ["", ".", "/", "./", "/a", "..", "../a", "a/../b", ".//./"])
def test_globs_of_nothing_below_the_directory(pattern: str) -> None:
    with pytest.raises(UsageError, match="is not a path below DIR"):
        IncludePatterns(["a", pattern])


def test_globs_tell_what_matched_nothing() -> None:
    globs = IncludePatterns(["a", "a/b", "c*", "d"])
    assert globs.matches(b"a/b/c")
    assert not globs.matches(b"x")
    assert globs.unmatched() == ["c*", "d"]
    assert globs.matches(b"cc")
    assert globs.unmatched() == ["d"]


@pytest.mark.parametrize(
    ("pattern", "directory", "expected"),
    [
        ("a/b/c", "a", True),
        ("a/b/c", "a/b", True),
        ("a/b/c", "a/x", False),
        ("a/b/c", "b", False),
        ("a", "x", False),
        ("*/b", "x", True),
        ("*/b", "x/y", False),
        ("**/b", "x/y/z", True),
        ("a/**/b", "a/y/z", True),
        ("a/**/b", "x", False),
        ("a/**", "a", True),
    ],
)
def test_where_globs_may_match(pattern: str, directory: str, expected: bool) -> None:
    assert IncludePatterns(["nothing", pattern]).may_contain(directory.encode()) is expected


PIECE = st.sampled_from(["a", "b", "*", "?", "**", "[ab]", "[!a]", "ab", "a*"])
GLOB = st.lists(PIECE, min_size=1, max_size=4).map("/".join)
PATH = st.lists(st.sampled_from(["a", "b", "ab", "c"]), min_size=1, max_size=5).map("/".join)


@given(GLOB, PATH)
def test_nothing_that_matches_is_in_a_directory_ruled_out(glob: str, path: str) -> None:
    globs = IncludePatterns([glob])
    if globs.matches(path.encode()):
        parents = [str(parent) for parent in Path(path).parents][:-1]
        for parent in parents:
            directory = parent.encode()
            assert globs.matches(directory) or globs.may_contain(directory)


@pytest.fixture(scope="module")
def repository() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as name:
        yield made(Path(name))


def made(place: Path) -> Path:
    subprocess.run([require("git"), "init", "-q", str(place)], check=True, env=_environment())
    return place


def _environment() -> dict[str, str]:
    """Git as it is, whatever its user has set up."""
    nowhere = {"HOME": "/nonexistent", "XDG_CONFIG_HOME": "/nonexistent"}
    return {"PATH": os.environ["PATH"], "GIT_CONFIG_NOSYSTEM": "1", **nowhere}


def grown(place: Path, paths: Sequence[str]) -> dict[str, bool]:
    """Make a tree of `paths`, directories if they end in a slash or have something in them.

    Whether it is a directory, by path. The parents are among them.
    """
    found: dict[str, bool] = {}
    for path in paths:
        names = path.rstrip("/").split("/")
        for count in range(1, len(names) + 1):
            part = "/".join(names[:count])
            is_directory = count < len(names) or path.endswith("/")
            found[part] = found.get(part, False) or is_directory
    for part, is_directory in found.items():
        if is_directory:
            (place / part).mkdir(parents=True, exist_ok=True)
    for part, is_directory in found.items():
        if not is_directory:
            (place / part).touch()
    return found


def by_git(place: Path, patterns: Sequence[str], paths: Sequence[str]) -> set[str]:
    """Which of these paths git ignores."""
    lines = b"".join(os.fsencode(pattern) + b"\n" for pattern in patterns)
    (place / ".gitignore").write_bytes(lines)
    done = subprocess.run(
        ["git", "check-ignore", "--stdin", "-z", "--no-index"],
        input=b"".join(os.fsencode(path) + b"\0" for path in paths),
        stdout=subprocess.PIPE,
        cwd=place,
        env=_environment(),
    )
    assert done.returncode in (0, 1)
    return {os.fsdecode(path) for path in done.stdout.split(b"\0") if path}


def by_us(patterns: Sequence[str], paths: dict[str, bool]) -> set[str]:
    """The same. What is in an ignored directory is ignored, as a walk has it."""
    ignore = GitignorePatterns(patterns)
    found: set[str] = set()
    for path in sorted(paths):
        above = os.path.dirname(path)
        if above in found or ignore.ignores(os.fsencode(path), is_directory=paths[path]):
            found.add(path)
    return found


def cleared(repository: Path, paths: Sequence[str]) -> dict[str, bool]:
    """Make a tree of `paths` where another has been."""
    for entry in repository.iterdir():
        if entry.is_dir() and entry.name != ".git":
            shutil.rmtree(entry)
        elif entry.name != ".git":
            entry.unlink()
    return grown(repository, paths)


def compare(repository: Path, patterns: Sequence[str], paths: Sequence[str]) -> None:
    found = cleared(repository, paths)
    assert by_us(patterns, found) == by_git(repository, patterns, list(found))


PATTERNS = [
    ["a"],
    ["a/"],
    ["/a"],
    ["a/b"],
    ["**/a"],
    ["a/**"],
    ["a/**/b"],
    ["**"],
    ["*", "!a"],
    ["*", "!*/", "!a"],
    ["a/*", "!a/b"],
    ["a", "!a/b"],
    ["!a", "a"],
    ["a", "!a"],
    ["#a", "\\#a", "\\!a"],
    ["a ", "b\\ ", "a\\  ", "\ta", "a\t"],
    ["[ab]"],
    ["[!ab]", "[^a]b"],
    ["[a-c]b", "[]a]", "[!]a]", "[]-a]"],
    ["[a"],
    ["[[:alpha:]]"],
    ["a**", "**b", "a**b", "a**/b", "a/b**"],
    ["a//b", "//a", "/", "", "a/ "],
    ["a\\", "\\"],
    ["\\a", "\\*", "a\\/b"],
    ["a/**/", "**/", "/**", "/**/b", "**/b/"],
    ["a?b", "?"],
    ["***", "a/***", "***/b"],
    ["a/b/", "!a/b"],
    ["*b/"],
    ["[a/]b", "a[/]b", "a[!x]b"],
    ["[c-a]b", "[[:a]b:]", "[[:a:]", "[[::]b]", "[:]", "[a-]", "[-a]", "[a-c-e]", "[\\a-c]"],
    ["[!-b]", "[[:upper:][:lower:]]b", "[*?]", "[\\]]", "[\\", "[!", "[", "a[]", "[--a]"],
]

TREES = [
    [
        *("a", "b", "ab", "abb", "c/a", "c/b", "c/d/a", "c/d/b/", "axb", "#a", "!a", "*", ".a"),
        *("a ", "b ", "a  ", "\ta", "a\t", "]", "-", "[a", "a\\", "\\", "x/[a", "é", "\udcff"),
        *("a\nb", "a.b", "c/ab/b/a", "x/\\b", "a\\b"),
    ],
    [
        *("a/a", "a/b/c", "a/c/b", "a/c/d/b", "a/d/a", "a/bb", "a/ab/", "a/\\b", "b/a/b", "b/b"),
        *("ab/b", "ab/a/b", "aab/b", "abb/", "c/a/a/b", "c/b/", "c/x/b/a", "*/a", " /a", "a /b"),
    ],
    ["a/b", "a/a/", "b/a", "b/b/", "c/a/b/c/a/b", "c/b/a"],
]


@pytest.fixture(scope="module")
def trees() -> Iterator[list[tuple[Path, dict[str, bool]]]]:
    with tempfile.TemporaryDirectory() as name:
        places = [made(Path(name, str(number))) for number in range(len(TREES))]
        yield [(place, grown(place, paths)) for place, paths in zip(places, TREES, strict=True)]


@pytest.mark.parametrize("patterns", PATTERNS, ids=repr)
def test_ignores_as_git_does(
    trees: list[tuple[Path, dict[str, bool]]], patterns: list[str]
) -> None:
    for place, paths in trees:
        for lines in (patterns, *([pattern] for pattern in patterns)):
            assert by_us(lines, paths) == by_git(place, lines, list(paths))


LINES = st.lists(
    st.text(alphabet="ab*/!?[]^-\\ #.:", min_size=1, max_size=7), min_size=1, max_size=4
)
FOUND = st.lists(
    st.tuples(
        st.lists(
            st.sampled_from(["a", "b", "ab", "aa", "ba", ".a", "^", "!", "#a"]), min_size=1
        ).map("/".join),
        st.sampled_from(["", "/"]),
    ).map("".join),
    min_size=1,
    max_size=12,
    unique=True,
)


@settings(
    max_examples=150,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.filter_too_much],
)
@given(lines=LINES, paths=FOUND)
@example(lines=["*", "!a/"], paths=["a/", "a/b", "b"])
def test_ignores_whatever_git_does(repository: Path, lines: list[str], paths: list[str]) -> None:
    compare(repository, lines, paths)


STARS = st.lists(
    st.sampled_from([*"ab*?/", "*a", "/**", "**/", "\\/", "[!a]"]), min_size=4, max_size=12
)
NAME = st.text(alphabet="ab", min_size=1, max_size=6)
NAMES = st.lists(
    st.lists(st.one_of(st.sampled_from(["a", "b"]), NAME), min_size=1, max_size=6).map("/".join),
    min_size=1,
    max_size=12,
    unique=True,
)
A_REPOSITORY = settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@A_REPOSITORY
@given(line=STARS.map("".join), paths=NAMES)
@example(line="**/a*b/", paths=["ax/ab/b"])
@example(line="*a*b/**/a*a*/**/b*", paths=["aab/a/aba/b", "ab/b/aa/a/b", "bab/aa/ab"])
@example(line="**/a/**/b/**/ab", paths=["a/b/ab/a", "a/b/ab/b/a/b/b", "a/b/a/ab"])
@example(line="a**\\/b/**/ab/**/a", paths=["a/b/ab/b/a", "ab/b/ab/b/b/a"])
@example(line="*ab*a", paths=["abab", "ababa", "abaab"])
def test_ignores_many_asterisks_as_git_does(repository: Path, line: str, paths: list[str]) -> None:
    compare(repository, [line], paths)


SEVERAL = st.lists(
    st.one_of(
        st.just("**"),
        st.sampled_from(["a", "b"]),
        st.lists(st.sampled_from(["a", "b", "*", "?", "*a"]), min_size=1, max_size=6)
        .map("".join)
        .filter(lambda name: "**" not in name),
    ),
    min_size=1,
    max_size=6,
).map("/".join)
"""Without `**` in a name, which git takes for any depth behind letters only."""


@A_REPOSITORY
@given(glob=SEVERAL, paths=NAMES)
@example(glob="**/a/b/**/a*b*", paths=["a/a/b/b/ab/x", "a/b/ab", "b/a/x/b/ab"])
def test_globs_match_as_git_does(repository: Path, glob: str, paths: list[str]) -> None:
    """A glob is a line that begins at the root."""
    found = cleared(repository, paths)
    globs = IncludePatterns([glob])
    ours = {path for path in found if globs.matches(path.encode())}
    assert ours == by_git(repository, [f"/{glob}"], list(found))
