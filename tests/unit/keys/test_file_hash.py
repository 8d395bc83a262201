"""`--hash-from` against the real `find`, `sort`, `sha256sum` and bash's own globbing."""

from __future__ import annotations

import errno
import os
import socket
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cacher.errors import CacherError, LocalError, UsageError
from cacher.keys import file_hash
from cacher.keys.file_hash import hash_paths

HELLO = "5891b5b522d5df08"  # echo hello | sha256sum | cut -c1-16

ONE_FILE = 'sha256sum "$1" | cut -c1-16'
ONE_FILE_ANY_NAME = 'sha256sum < "$1" | cut -c1-16'
ONE_DIRECTORY = (
    "(cd \"$1\" && find . -type f | LC_ALL=C sort | xargs -d '\\n' sha256sum)"
    " | sha256sum | cut -c1-16"
)
ONE_DIRECTORY_ANY_NAME = (
    '(cd "$1" && find . -type f -print0 | LC_ALL=C sort -z | xargs -0 sha256sum)'
    " | sha256sum | cut -c1-16"
)
# Every symlink replaced by a file that holds its target's text, then as above.
ONE_DIRECTORY_WITH_LINKS = f"""
set -e
copy=$(mktemp -d)
trap 'rm -r "$copy"' EXIT
cp -R -P "$1/." "$copy/tree"
find "$copy/tree" -type l -print0 | while IFS= read -r -d '' link; do
    readlink -n "$link" > "$copy/text"
    rm "$link"
    mv "$copy/text" "$link"
done
set -- "$copy/tree"
{ONE_DIRECTORY_ANY_NAME}
"""
SEVERAL = """
for path; do
    if [ -d "$path" ]; then
        find -H "$path" -type f -print0 | LC_ALL=C sort -z | xargs -0 sha256sum
    else
        sha256sum -- "$path"
    fi
done | sha256sum | cut -c1-16
"""
# An unquoted expansion is a glob. Without directories, on which sha256sum would fail.
GLOB = """
shopt -s globstar nullglob
IFS=
for path in $1; do
    if [ -f "$path" ]; then printf '%s\\0' "$path"; fi
done | LC_ALL=C sort -zu
"""


def shell(script: str, *arguments: str) -> str:
    """What bash prints for `script`, a hash."""
    return bash(script, *arguments).decode("ascii").rstrip("\n")


def expected_of(paths: list[str]) -> str:
    """What a shell computes for these, one or several, of which none is a symlink."""
    if len(paths) > 1:
        return shell(SEVERAL, *paths)
    return shell(ONE_DIRECTORY_ANY_NAME if os.path.isdir(paths[0]) else ONE_FILE_ANY_NAME, *paths)


def glob(pattern: str) -> list[str]:
    """The files bash expands `pattern` to, in C order."""
    return [os.fsdecode(name) for name in bash(GLOB, pattern).split(b"\0")[:-1]]


def bash(script: str, *arguments: str) -> bytes:
    """Run `script` in the current directory; a word on stderr is a mistake in the test."""
    result = subprocess.run(
        [b"bash", b"-c", script.encode(), b"bash", *map(os.fsencode, arguments)],
        capture_output=True,
        check=True,
        env={**os.environ, "LC_ALL": "C.UTF-8"},
    )
    assert result.stderr == b""
    return result.stdout


def refused(*paths: str) -> CacherError:
    with pytest.raises((UsageError, LocalError)) as caught:
        hash_paths(paths)
    for line in (caught.value.message, caught.value.hint):
        assert line
        assert line.isprintable(), "one line, and nothing that moves the cursor"
    return caught.value


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty current directory, which others than root can look into."""
    directory = tmp_path / "here"
    directory.mkdir(mode=0o755)
    monkeypatch.chdir(directory)
    return directory


def write(name: str | bytes, data: bytes = b"hello\n") -> None:
    path = os.fsencode(name)
    os.makedirs(os.path.dirname(path) or b".", exist_ok=True)
    with open(path, "wb") as file:
        file.write(data)


ODD_NAMES = [
    b"a b",
    b" ",
    b"-n",
    b"-",
    b"--help",
    b"a\nb",
    b"\n",
    b"a\\b",
    b"a\rb",
    b"\\\n\r",
    b"\\n",
    b"a\tb\x01\x1b",
    b"caf\xc3\xa9",
    b"latin\xe9",
    b"\xff\xfe",
    b"*",
    b"[a]",
    b"'\"$(x)",
    b".hidden",
]


# --- one file ------------------------------------------------------------------------------------


CHUNK = 1 << 20


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"hello\n",
        b"no newline",
        b"\0" * CHUNK,
        bytes(range(256)) * 4096 + b"x",
        os.urandom(3 * CHUNK - 1),
    ],
    ids=len,
)
def test_one_file(data: bytes) -> None:
    write("deps.lock", data)
    assert hash_paths(["deps.lock"]) == shell(ONE_FILE, "deps.lock")


def test_a_known_hash() -> None:
    write("deps.lock")
    assert hash_paths(["deps.lock"]) == HELLO


def test_one_file_by_whatever_path(here: Path) -> None:
    write("sub/deps.lock")
    for path in ("sub/deps.lock", "./sub//deps.lock", str(here / "sub/deps.lock")):
        assert hash_paths([path]) == HELLO


@pytest.mark.parametrize("name", ODD_NAMES, ids=ascii)
def test_a_single_files_name_is_not_in_its_hash(name: bytes) -> None:
    write(name)
    assert hash_paths([os.fsdecode(name)]) == HELLO


def test_a_symlink_that_is_named_is_followed() -> None:
    write("deps.lock")
    os.symlink("deps.lock", "link")
    assert hash_paths(["link"]) == shell(ONE_FILE, "link") == HELLO


# --- one directory -------------------------------------------------------------------------------


def test_one_directory() -> None:
    # Orders that differ between C, a locale and a walk of the tree: case, '-' and '.' before '/'.
    for name in ("b", "B", "a/x", "a-b", "a.b", "a/b/c", "a0", "é", "_", ".git/HEAD", "z/.keep"):
        write(f"vendor/{name}", name.encode())
    os.makedirs("vendor/empty/in/side")
    expected = shell(ONE_DIRECTORY, "vendor")
    assert hash_paths(["vendor"]) == expected
    assert len(expected) == 16


def test_the_spelling_of_a_single_directory_is_not_in_its_hash(here: Path) -> None:
    write("vendor/a/b")
    expected = shell(ONE_DIRECTORY, "vendor")
    os.symlink("vendor", "link")
    for path in ("vendor/", "./vendor", "vendor//", str(here / "vendor"), "link", "link/"):
        assert hash_paths([path]) == expected, path
    os.chdir("vendor")
    assert hash_paths(["."]) == hash_paths(["./"]) == hash_paths(["../vendor"]) == expected


def test_one_directory_with_odd_names() -> None:
    for number, name in enumerate(ODD_NAMES):
        write(b"vendor/" + name, b"%d" % number)
        write(b"vendor/sub" + name + b"/file", b"%d" % number)
    assert hash_paths(["vendor"]) == shell(ONE_DIRECTORY_ANY_NAME, "vendor")


@pytest.mark.parametrize("name", ODD_NAMES, ids=ascii)
def test_each_odd_name_alone(name: bytes) -> None:
    write(b"vendor/" + name)
    assert hash_paths(["vendor"]) == shell(ONE_DIRECTORY_ANY_NAME, "vendor")


def test_a_symlink_in_a_directory_is_a_line_over_its_targets_text() -> None:
    write("vendor/b")
    os.symlink("no/such place", "vendor/a")
    expected = shell(
        "{ printf %s 'no/such place' | sha256sum | sed 's|-$|./a|'; cd vendor; sha256sum ./b; }"
        " | sha256sum | cut -c1-16"
    )
    assert hash_paths(["vendor"]) == expected == shell(ONE_DIRECTORY_WITH_LINKS, "vendor")


def test_symlinks_in_a_directory_are_never_followed() -> None:
    write("vendor/sub/file")
    write("elsewhere/file")
    os.symlink("sub", "vendor/to-directory")
    os.symlink("sub/file", "vendor/sub.file")
    os.symlink("../elsewhere", "vendor/out")
    os.symlink("loop", "vendor/loop")
    os.symlink(b"odd\xff\n\\target", b"vendor/odd\\\n\r\xff")
    expected = shell(ONE_DIRECTORY_WITH_LINKS, "vendor")
    assert hash_paths(["vendor"]) == expected
    write("elsewhere/file", b"changed")
    assert hash_paths(["vendor"]) == expected
    os.unlink("vendor/out")
    os.symlink("../elsewhere/", "vendor/out")
    assert hash_paths(["vendor"]) != expected


def test_a_directory_of_symlinks_alone_is_not_empty() -> None:
    os.mkdir("vendor")
    os.symlink("x", "vendor/link")
    assert hash_paths(["vendor"]) == shell(ONE_DIRECTORY_WITH_LINKS, "vendor")


@pytest.mark.timeout(300)
def test_special_files_in_a_directory_are_passed_over_as_by_find() -> None:
    write("vendor/file")
    expected = shell(ONE_DIRECTORY, "vendor")
    os.mkfifo("vendor/fifo")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("vendor/socket")
    assert hash_paths(["vendor"]) == expected == shell(ONE_DIRECTORY, "vendor")


# --- several paths -------------------------------------------------------------------------------


def test_several_paths_count_in_the_order_given() -> None:
    write("b.lock", b"b")
    write("a.lock", b"a")
    forth, back = ["b.lock", "a.lock"], ["a.lock", "b.lock"]
    assert hash_paths(forth) == shell("sha256sum b.lock a.lock | sha256sum | cut -c1-16")
    assert hash_paths(back) == shell("sha256sum a.lock b.lock | sha256sum | cut -c1-16")
    assert hash_paths(forth) != hash_paths(back)


def test_the_same_file_twice_counts_twice() -> None:
    write("a.lock")
    twice = ["a.lock", "a.lock"]
    assert hash_paths(twice) == shell(SEVERAL, *twice) != hash_paths(["a.lock"])


def test_names_among_several_are_as_given(here: Path) -> None:
    write("a.lock")
    spellings = [["a.lock", "./a.lock"], ["./a.lock", "a.lock"], [str(here / "a.lock"), "a.lock"]]
    hashes = [hash_paths(paths) for paths in spellings]
    assert hashes == [shell(SEVERAL, *paths) for paths in spellings]
    assert len(set(hashes)) == 3


@pytest.mark.parametrize("directory", ["vendor", "vendor/", "./vendor", ".", "vendor/sub", "link"])
def test_a_directory_among_several_stands_for_its_files(directory: str) -> None:
    for name in ("b", "B", "a-b", "a/x", "sub/file"):
        write(f"vendor/{name}", name.encode())
    write("go.sum")
    os.symlink("vendor", "link")
    if directory == ".":  # find -type f does not see the link, which has a line of its own
        os.unlink("link")
    for paths in ([directory, "go.sum"], ["go.sum", directory], [directory, directory]):
        given_to_find = [f"{path}/" if path == "link" else path for path in paths]
        assert hash_paths(paths) == shell(SEVERAL, *given_to_find)


def test_a_symlink_in_a_directory_among_several() -> None:
    write("vendor/b")
    write("go.sum")
    os.symlink("target", "vendor/a")
    expected = shell(
        "{ sha256sum go.sum; printf target | sha256sum | sed 's|-$|vendor/a|';"
        " sha256sum vendor/b; } | sha256sum | cut -c1-16"
    )
    assert hash_paths(["go.sum", "vendor"]) == expected


def test_several_with_odd_names() -> None:
    for number, name in enumerate(ODD_NAMES):
        write(name, b"%d" % number)
    # To sha256sum, but not to --hash-from, a lone - is standard input.
    paths = [os.fsdecode(name) for name in ODD_NAMES if name != b"-"]
    assert hash_paths(paths) == shell(SEVERAL, *paths)


def test_a_file_called_dash_is_that_file() -> None:
    write("-")
    write("a", b"")
    expected = shell("sha256sum ./- a | sed 's|[.]/||' | sha256sum | cut -c1-16")
    assert hash_paths(["-", "a"]) == expected


# --- patterns ------------------------------------------------------------------------------------


TREE = [
    "go.sum",
    "a.lock",
    "B.lock",
    "a-b.lock",
    "ab.lock",
    "é.lock",
    "x y.lock",
    ".hidden.lock",
    ".git/config.lock",
    ".git/refs/x.lock",
    "foo-roo",
    "src/a.c",
    "src/b.c",
    "src/a.h",
    "src/deep/er/a.c",
    "src/.dot/a.c",
    "src/deep/c.lock",
    "lib/a.lock/file",
    "lib/z.lock",
    "lib/.lock",
    "lib/a.cc",
]


@pytest.fixture
def tree() -> None:
    for name in TREE:
        write(name, name.encode())
    os.makedirs("empty.lock/er")
    os.symlink("go.sum", "link.lock")


@pytest.mark.usefixtures("tree")
@pytest.mark.parametrize(
    "pattern",
    [
        "*",
        "**",
        "*.lock",
        "?.lock",
        "??.lock",
        "?-?.lock",
        "*-*.lock",
        "a*",
        "é*",
        "*.l*k",
        "*o*o*",
        ".*.lock",
        ".git/*",
        ".git/**",
        ".g?t/*.lock",
        "**/*.lock",
        "./**/*.lock",
        "**/.*",
        "**/.*/*",
        "**/*.c",
        "**/a.?",
        "**/deep/**",
        "**/**/*.c",
        "src/**/*.c",
        "src//*.c",
        "src/**",
        "src/*/*",
        "s?c/*.c",
        "*/a.c",
        "*/*.c",
        "lib/**/*.c*",
        "lib/../*.lock",
        "lib**/z*",
        "***.lock",
        "*/deep/../a.c",
        "*/deep/er/**/a.c",
    ],
)
def test_a_pattern_is_expanded_as_by_bash(pattern: str, here: Path) -> None:
    for spelling in (pattern, f"./{pattern}", f"{here}/{pattern}"):
        matches = glob(spelling)
        assert hash_paths([spelling]) == expected_of(matches)
        assert hash_paths([spelling, "go.sum"]) == expected_of([*matches, "go.sum"])


@pytest.mark.usefixtures("tree")
@pytest.mark.parametrize("pattern", ["linked/**/*.c", "link*/*.c", "linked/*", "*/deep/er/*.c"])
def test_a_symlink_to_a_directory_is_entered_where_a_segment_names_it(pattern: str) -> None:
    os.symlink("src", "linked")
    assert hash_paths([pattern]) == expected_of(glob(pattern))


@pytest.mark.usefixtures("tree")
@pytest.mark.parametrize("pattern", ["**/*.c", "./**/*.c", "lib/**/a*", "**"])
def test_stars_go_through_no_symlinks(pattern: str) -> None:
    # bash agrees only where nothing stands before the `**`; elsewhere it goes one link deep.
    before = hash_paths([pattern])
    os.symlink("src", "linked")
    os.symlink("../src", "lib/linked")
    os.symlink(".", "src/loop")
    assert hash_paths([pattern]) == before


def test_a_pattern_for_one_file_hashes_like_that_file() -> None:
    write("deps.lock")
    write("deps/x")
    assert hash_paths(["*.lock"]) == hash_paths(["**/deps*"]) == hash_paths(["deps.lock"]) == HELLO
    write("more.lock")
    assert hash_paths(["*.lock"]) == hash_paths(["deps.lock", "more.lock"])


def test_a_pattern_among_several_stands_in_its_place() -> None:
    for name in ("a.lock", "b.lock", "go.sum"):
        write(name, name.encode())
    assert hash_paths(["go.sum", "*.lock", "a.*"]) == expected_of(
        ["go.sum", "a.lock", "b.lock", "a.lock"]
    )


def test_matches_are_in_the_order_of_their_bytes() -> None:
    names = ["B", "a", "a-b", "a.b", "a/b", "ab", "ä", "\udce4", "🦀"]
    for name in names:
        if name != "a/b":
            write(f"d/{name}" if name != "a" else "d/a-", name.encode(errors="surrogateescape"))
    write("d/a/b")
    matches = glob("d/**")
    assert matches == sorted(matches, key=os.fsencode)
    assert len(matches) == len(names)
    assert hash_paths(["d/**"]) == expected_of(matches)


def test_a_question_mark_is_a_character_or_a_stray_byte() -> None:
    for name in (b"\xc3\xa9", b"e", b"\xe9", b"e\xcc\x81"):
        write(b"d/" + name, name)
    assert hash_paths(["d/?"]) == expected_of(["d/e", "d/é", "d/\udce9"])


@pytest.mark.parametrize("name", ["*.lock", "what?", "a*/b", "**"])
def test_a_name_that_exists_is_literal(name: str) -> None:
    write(name.replace("*", "x").replace("?", "x"), b"a match")
    write(name)
    assert hash_paths([name]) == HELLO


def test_a_directory_that_exists_is_literal() -> None:
    write("a*/file")
    write("ab/file", b"other")
    assert hash_paths(["a*"]) == shell(ONE_DIRECTORY, "a*")


@pytest.mark.parametrize("name", ["[a]b*", "{a}b*", "\\ab*", "(a|b)b*", "a+b*", "^ab$*", "a.b*"])
def test_all_else_in_a_pattern_means_itself(name: str) -> None:
    write(name.replace("*", "c"))
    for decoy in ("ab", "bb", "aabc", "axbc", "a b"):
        write(decoy, b"decoy")
    assert hash_paths([name]) == HELLO


def test_a_newline_is_a_character_like_others() -> None:
    write("a\nb")
    assert hash_paths(["a?b"]) == hash_paths(["a*"]) == hash_paths(["*b"]) == HELLO


# --- what is no hash -----------------------------------------------------------------------------


@pytest.mark.usefixtures("tree")
@pytest.mark.parametrize(
    "pattern",
    ["*.none", "none/*", "none/**", "**/none", "go.sum/*", "*/", "empty.lock/**", "lib/?", "[ab]*"],
)
def test_a_pattern_that_matches_no_file(pattern: str) -> None:
    error = refused(pattern)
    assert isinstance(error, UsageError)
    assert error.message == f"the pattern '{pattern}' matches no file"
    assert isinstance(refused("go.sum", pattern), UsageError)


@pytest.mark.parametrize("path", ["", "a\0b"])
def test_what_is_no_path(path: str) -> None:
    error = refused(path)
    assert isinstance(error, UsageError)
    assert repr(path) in error.message


def test_no_paths_are_no_hash() -> None:
    assert isinstance(refused(), UsageError)


@pytest.mark.parametrize("path", ["absent", "absent/", "absent/file", "\udcff", "a\nb"])
def test_a_missing_file(path: str) -> None:
    write("here")
    error = refused("here", path)
    assert isinstance(error, LocalError)
    shown = repr(path).replace("\\udcff", "\\xff")
    assert error.message == f"cannot read {shown}: no such file or directory"


def test_a_file_is_no_directory() -> None:
    write("file")
    for path in ("file/", "file/below"):
        assert refused(path).message == f"cannot read '{path}': not a directory"


def test_a_directory_without_files() -> None:
    os.makedirs("empty/in/side")
    os.mkfifo("empty/fifo")
    write("file")
    for paths in (["empty"], ["file", "empty"], ["empty/", "file"]):
        error = refused(*paths)
        assert isinstance(error, LocalError)
        assert "a directory without files" in error.message
        assert "'empty" in error.message


def test_a_symlink_to_nowhere() -> None:
    write("a.lock")
    os.symlink("nowhere", "b.lock")
    for path in ("b.lock", "*.lock", "**/*.lock"):
        error = refused(path)
        assert isinstance(error, LocalError)
        assert error.message == "cannot read 'b.lock': no such file or directory"
        assert "symlink to nowhere" in error.hint


def test_a_symlink_to_itself() -> None:
    os.symlink("loop", "loop")
    for path in ("loop", "l*"):
        assert os.strerror(errno.ELOOP).lower() in refused(path).message


@pytest.mark.timeout(300)
@pytest.mark.parametrize("path", ["fifo", "link", "socket", "/dev/null"])
def test_special_files_are_refused_at_once(path: str) -> None:
    write("file")
    os.mkfifo("fifo")
    os.symlink("fifo", "link")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("socket")
        for paths in ([path], ["file", path]):
            error = refused(*paths)
            assert isinstance(error, LocalError)
            assert f"'{path}': neither a regular file nor a directory" in error.message
    assert hash_paths(["fi*"]) == HELLO, "patterns match files only"


@pytest.mark.timeout(300)
def test_a_file_that_has_become_a_fifo_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    os.mkfifo("fifo")
    monkeypatch.setattr(file_hash, "_is_directory", lambda path: False)
    assert "neither a regular file" in refused("fifo").message


def test_a_file_that_vanishes(monkeypatch: pytest.MonkeyPatch) -> None:
    walk: Callable[[bytes], Iterator[tuple[bytes, bool]]] = file_hash._walk

    def walk_and_lose(root: bytes) -> Iterator[tuple[bytes, bool]]:
        yield from walk(root)
        os.unlink("vendor/b")

    write("vendor/a")
    write("vendor/b")
    monkeypatch.setattr(file_hash, "_walk", walk_and_lose)
    assert refused("vendor").message == "cannot read 'vendor/b': no such file or directory"


def as_nobody(paths: list[str]) -> str:
    """The refusal of `paths` in a child without root's rights, which would overrule modes."""
    hash_paths([__file__])  # load what is loaded late: nobody may be unable to read it
    receive, send = os.pipe()
    if not (child := os.fork()):
        status = 1
        try:
            if os.geteuid() == 0:
                os.setegid(65534)
                os.seteuid(65534)
            hash_paths(paths)
        except LocalError as error:
            os.write(send, error.message.encode())
            status = 0
        finally:
            os._exit(status)
    os.close(send)
    with open(receive) as pipe:
        message = pipe.read()
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0, "was not refused"
    return message


@pytest.mark.parametrize(
    ("closed", "path"),
    [
        ("vendor/sub/secret", "vendor/sub/secret"),
        ("vendor/sub/secret", "vendor"),
        ("vendor/sub/secret", "vendor/**"),
        ("vendor/sub/secret", "vendor/sub/s*"),
        ("vendor/sub", "vendor"),
        ("vendor/sub", "vendor/**/*.lock"),
        ("vendor/sub", "vendor/*/*.lock"),
        ("vendor/sub", "vendor/*/secret"),
    ],
)
def test_what_is_unreadable_is_never_skipped(closed: str, path: str) -> None:
    write("vendor/sub/secret")
    write("vendor/a.lock")
    for directory in ("vendor", "vendor/sub"):
        os.chmod(directory, 0o755)
    os.chmod(closed, 0)
    try:
        message = as_nobody([path])
    finally:
        os.chmod(closed, 0o755)
    assert message.startswith(f"cannot read '{closed}")
    assert message.endswith(": permission denied")


# --- any tree ------------------------------------------------------------------------------------


NAMES = st.sampled_from(
    ["a", "b", "B", "a-", "a.b", "a b", ".a", "-n", "é", "\udcff", "a\nb", "a\\b", "a\rb", "ab"]
)
PATHS = st.lists(NAMES, min_size=1, max_size=3).map("/".join)
TREES = st.dictionaries(PATHS, st.binary(max_size=20), min_size=1, max_size=12)
SEGMENTS = st.sampled_from(["*", "**", "a*", "*b", "?", "??", "*-*", ".*", "a", "b", "*a*"])


@pytest.fixture(scope="module")
def forest() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as directory:
        yield Path(directory)


def plant(forest: Path, tree: dict[str, bytes]) -> None:
    """Make `tree` in a new directory below `forest`, and go there. Who comes second gives way."""
    os.chdir(tempfile.mkdtemp(dir=forest))
    for path, data in tree.items():
        try:
            write(f"top/{path}", data)
        except (FileExistsError, NotADirectoryError, IsADirectoryError):
            continue


@settings(max_examples=60, deadline=None)
@given(TREES)
def test_any_directory(forest: Path, tree: dict[str, bytes]) -> None:
    plant(forest, tree)
    assert hash_paths(["top"]) == shell(ONE_DIRECTORY_ANY_NAME, "top")
    assert hash_paths(["top", "top/"]) == shell(SEVERAL, "top", "top/")


@settings(max_examples=40, deadline=None)
@given(TREES, st.dictionaries(PATHS, st.sampled_from(["a", "..", "no\n\\", "/"]), min_size=1))
def test_any_directory_with_links(
    forest: Path, tree: dict[str, bytes], links: dict[str, str]
) -> None:
    plant(forest, tree)
    for path, target in links.items():
        if os.path.isdir(os.path.dirname(f"top/{path}")) and not os.path.lexists(f"top/{path}"):
            os.symlink(target, f"top/{path}")
    assert hash_paths(["top"]) == shell(ONE_DIRECTORY_WITH_LINKS, "top")


@settings(max_examples=80, deadline=None)
@given(TREES, st.lists(SEGMENTS, min_size=1, max_size=3).map("/".join))
def test_any_pattern(forest: Path, tree: dict[str, bytes], pattern: str) -> None:
    plant(forest, tree)
    os.chdir("top")
    matches = glob(pattern)
    if not set(pattern) & set("*?"):
        matches = [pattern] if os.path.lexists(pattern) else []
    if matches:
        assert hash_paths([pattern]) == expected_of(matches)
        assert hash_paths([pattern, "."]) == expected_of([*matches, "."])
    else:
        assert f"'{pattern}'" in refused(pattern).message
