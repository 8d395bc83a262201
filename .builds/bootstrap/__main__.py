"""Where a zipapp starts. Old Pythons read this, too, and are told so: nothing newer than 2.7."""
# ruff: noqa: E402, UP031, UP036

import sys

if sys.version_info < (3, 11):
    sys.stderr.write(
        "cacher: error: this is Python %d.%d, and cacher needs 3.11 or newer\n"
        "cacher: hint: run it with another one, as in `python3.11 %s`\n"
        % (sys.version_info[0], sys.version_info[1], sys.argv[0])
    )
    sys.exit(7)  # "this machine", as in cacher/errors.py

import _frozen_importlib_external as _machinery

ARCHIVE = __loader__.archive
# The compiled form of what comes next, if there is one for this Python; else its source.
_MAGIC = int.from_bytes(_machinery.MAGIC_NUMBER[:2], "little")
sys.path.insert(0, "%s/bytecode/%d" % (ARCHIVE, _MAGIC))
import bundled

del sys.path[0]
if sys.path and sys.path[0] == ARCHIVE:
    # No other import needs to look in here.
    del sys.path[0]
bundled.install(__loader__, _MAGIC)

from cacher.cli import main

sys.exit(main())
