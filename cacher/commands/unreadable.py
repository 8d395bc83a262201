"""Why a file or a directory that is to be stored cannot be read, and the next step."""

from __future__ import annotations

import os
from contextlib import suppress

from cacher.errors import LocalError, os_reason


def unreadable(path: str, error: OSError) -> LocalError:
    """Why it cannot be read: most often the step that makes it did not run, or elsewhere."""
    why, hint = os_reason(error), ""
    if isinstance(error, PermissionError):
        hint = f"user {os.geteuid()} needs access to all directories on the way to it"
        if os.path.exists(path):
            hint = f"user {os.geteuid()} needs read access to it"
    elif isinstance(error, FileNotFoundError):
        if os.path.islink(path):
            why = f"it is a link to {os.readlink(path)}, which does not exist"
        hint = "run the step that creates it first"
        if not os.path.isabs(path):
            with suppress(OSError):
                hint += f"; the working directory is {os.getcwd()}"
    return LocalError(f"cannot read {path}: {why}", hint)
