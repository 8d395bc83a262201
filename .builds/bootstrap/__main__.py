"""Where a zipapp starts. Old Pythons read this, too, and refuse: nothing newer than 2.7."""
# ruff: noqa: UP031, UP036

import sys

if sys.version_info < (3, 11):
    sys.stderr.write(
        "cacher: error: this is Python %d.%d, and cacher needs 3.11 or newer\n"
        "cacher: hint: run it with another one, as in `python3.11 %s`\n"
        % (sys.version_info[0], sys.version_info[1], sys.argv[0])
    )
    sys.exit(7)  # "this machine", as in cacher/errors.py

import _signal
import os
import zipimport
import zlib
from _frozen_importlib_external import MAGIC_NUMBER

if _signal.getsignal(_signal.SIGINT) is _signal.default_int_handler:
    # Until cacher's own is there: not with a traceback of an import.
    _signal.signal(_signal.SIGINT, _signal.SIG_DFL)

ARCHIVE = __loader__.archive


class Damaged(ImportError):
    """What is in this file cannot be what was built; the message is a line to be shown."""

    hint = "download it again, and compare it with its checksum: `sha256sum -c`"


_read = getattr(zipimport, "_get_data", None)


def checked(archive, entry):
    """Return the bytes of an entry of a zip file, as zipimport's function of that name.

    That one compares no checksum: a bit that has flipped would run, or crash the interpreter.
    Raises Damaged.
    """
    try:
        data = _read(archive, entry)
    except (OSError, EOFError, ImportError, zlib.error) as error:
        reason = getattr(error, "strerror", None) or str(error)
    else:
        if zlib.crc32(data) == entry[-1]:
            return data
        reason = "it has another checksum"
    name = entry[0][len(archive) + 1 :]
    message = "%s is damaged, or was replaced while it ran (%s: %s)"
    raise Damaged(message % (archive, name, reason.lower()))


if _read:
    zipimport._get_data = checked

# Before all that is installed, and not what something at the start of Python has loaded: half of
# each would fail.
place = "bytecode/%d" % int.from_bytes(MAGIC_NUMBER[:2], "little")
try:
    __loader__.get_data(place + "/cacher/__init__.pyc")
    place = ARCHIVE + "/" + place
except OSError:  # nothing is compiled for this Python: the sources
    place = ARCHIVE
sys.path[:] = [place] + [other for other in sys.path if other != ARCHIVE]
for name in list(sys.modules):
    if name.partition(".")[0] in ("cacher", "urllib3", "zstandard"):
        del sys.modules[name]
# What somebody has said of an installed zstandard does not hold for this one.
os.environ.pop("PYTHON_ZSTANDARD_IMPORT_POLICY", None)

try:
    from cacher.cli.main import main
except ImportError as error:
    message, hint = str(error), Damaged.hint
    if not isinstance(error, Damaged):
        message = "%s is damaged (%s)" % (ARCHIVE, error)
        if error.name and error.name.partition(".")[0] != "cacher":
            message = "this Python has no module %s" % error.name
            hint = "cacher needs the whole standard library: on Debian python3, not python3-minimal"
    sys.stderr.write("cacher: error: %s\ncacher: hint: %s\n" % (message, hint))
    sys.exit(7)

sys.exit(main())
