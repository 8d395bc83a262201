"""What nobody raised on purpose, as an error that can be told: a bug, or a machine's lack.

Knows no command and prints nothing.
"""

import errno
import os

from cacher.errors import CacherError, LocalError

_LIMITS = {
    errno.EMFILE: "this process may open too few files at once: raise `ulimit -n`",
    errno.ENFILE: "this machine may open too few files at once: see the sysctl fs.file-max",
    errno.EFBIG: "files may not become that large here: see `ulimit -f` and the file system",
}


def translated(error: Exception) -> CacherError:
    """The error to report, with `error` as its cause."""
    if isinstance(error, MemoryError):
        told: CacherError = LocalError(
            "out of memory", "a smaller --jobs or --part-size needs less"
        )
    elif isinstance(error, ImportError):
        told = _incomplete(error)
    else:
        text = f"a bug in cacher: {type(error).__name__}: {error}"
        told = CacherError(text, "--debug shows where; please report it")
    told.__cause__ = error
    return told


def limit_hint(error: BaseException | None) -> str:
    """The next step about the limit of this machine that was reached; empty for another error."""
    return _LIMITS.get(error.errno or 0, "") if isinstance(error, OSError) else ""


def writing_hint(error: OSError, target: str, argument: str) -> str:
    """The next step about what keeps a directory from being written, which need not be there."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return "free some space"
    if error.errno == errno.EROFS:
        return f"its file system is read-only: mount it otherwise, or name another {argument}"
    if error.errno not in (errno.EACCES, errno.EPERM):
        return ""
    place = os.path.realpath(target)
    while not os.path.lexists(place):
        place = os.path.dirname(place)
    status = os.lstat(place)
    # As for whom the system asks, which is not who `access` asks for by itself.
    if os.access(place, os.W_OK | os.X_OK, effective_ids=os.access in os.supports_effective_ids):
        return f"something in {place} belongs to another user than {os.geteuid()}"
    return (
        f"user {os.geteuid()} needs write access to {place}, "
        f"which belongs to user {status.st_uid} and has mode {status.st_mode & 0o7777:04o}"
    )


def reason(error: OSError) -> str:
    """Why, as in every message: without a capital letter."""
    return (error.strerror or str(error)).lower()


def _incomplete(error: ImportError) -> LocalError:
    """Something of ours, or of Python's, is not there or cannot be loaded."""
    package = (error.name or "").partition(".")[0]
    if isinstance(error, ModuleNotFoundError) and package not in ("", "cacher"):
        if package in ("urllib3", "zstandard"):
            return LocalError(f"{package} is not installed", f"`pip install {package}`")
        return LocalError(
            f"this Python has no module {error.name}",
            "cacher needs the whole standard library: on Debian python3, not python3-minimal",
        )
    # A zipapp's importer may know better.
    hint = getattr(error, "hint", "") or "the installation is incomplete: install cacher again"
    return LocalError(f"loading cacher: {error}", hint)
