"""Where a zipapp starts. Old Pythons read this, too, and are told so: nothing newer than 2.7."""
# ruff: noqa: UP031, UP036

import sys

if sys.version_info < (3, 11):
    sys.stderr.write(
        "cacher: error: this is Python %d.%d, and cacher needs 3.11 or newer\n"
        "cacher: hint: run it with another one, as in `python3.11 %s`\n"
        % (sys.version_info[0], sys.version_info[1], sys.argv[0])
    )
    sys.exit(7)  # "this machine", as in cacher/errors.py

import _frozen_importlib_external as _machinery
import _signal
import marshal
import zlib

if _signal.getsignal(_signal.SIGINT) is _signal.default_int_handler:
    # Until cacher's own is there: not with a traceback of an import.
    _signal.signal(_signal.SIGINT, _signal.SIG_DFL)

ARCHIVE = __loader__.archive
MAGIC = int.from_bytes(_machinery.MAGIC_NUMBER[:2], "little")


class Damaged(ImportError):
    """What is in this file cannot be what was built; the message is a line to be shown."""

    hint = "download it again, and compare it with its checksum: `sha256sum -c`"


def _directory():
    """What zipimport has read of the archive: a tuple for each entry, whose last is its CRC."""
    ask = getattr(__loader__, "_get_files", None)
    return ask() if ask else getattr(__loader__, "_files", {})


_FILES = _directory()


def read(name, needed=False):
    """The bytes of an entry; None if there is none of that name, unless `needed`. Raises Damaged.

    zipimport compares nothing: a bit that has flipped would run, or crash the interpreter.
    """
    try:
        if _FILES and name not in _FILES:
            raise OSError(0, "")
        data = __loader__.get_data(name)
    except OSError as error:
        if error.errno == 0 and not needed:
            return None
        reason = "it is not there" if error.errno == 0 else error.strerror or "it is cut off"
    except (ImportError, EOFError, ValueError, zlib.error) as error:
        reason = str(error)
    else:
        if not _FILES or zlib.crc32(data) == _FILES[name][-1]:
            return data
        reason = "it has another checksum"
    told = "%s is damaged, or was replaced while it ran (%s: %s)"
    raise Damaged(told % (ARCHIVE, name, reason.lower()))


def _bundled():
    """The importer: compiled, if it is for this Python, or else from its source."""
    compiled = read("bytecode/%d/bundled" % MAGIC)
    if compiled is not None:
        code = marshal.loads(compiled)
    else:
        code = compile(read("bundled.py", needed=True), "cacher.pyz/bundled.py", "exec")
    module = sys.modules["bundled"] = type(sys)("bundled")
    exec(code, module.__dict__)
    return module


if sys.path and sys.path[0] == ARCHIVE:
    # No import but ours needs to look in here.
    del sys.path[0]
try:
    _bundled().install(ARCHIVE, read, MAGIC)
    from cacher.cli.main import main
except ImportError as error:
    told, hint = str(error), Damaged.hint
    if not isinstance(error, Damaged):
        told = "%s is damaged (%s)" % (ARCHIVE, error)
        if error.name and error.name.partition(".")[0] not in ("bundled", "cacher"):
            told = "this Python has no module %s" % error.name
            hint = "cacher needs the whole standard library: on Debian python3, not python3-minimal"
    sys.stderr.write("cacher: error: %s\ncacher: hint: %s\n" % (told, hint))
    sys.exit(7)

sys.exit(main())
