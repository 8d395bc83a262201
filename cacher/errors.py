"""Every error raised on purpose, with its exit status and its hint; and the meaning of `OSError`s.

The bottom of the house: imports nothing of the package. Errors hold plain data (a message and a
hint, both one line, lower case) and never a secret. Foreign exceptions are translated into these
where they enter (`raise ... from`).
"""

from __future__ import annotations

import errno
import os
import re

_LIMITS = {
    errno.EMFILE: "this process may open too few files at once: raise `ulimit -n`",
    errno.ENFILE: "this machine may open too few files at once: see the sysctl fs.file-max",
    errno.EFBIG: "files may not become that large here: see `ulimit -f` and the file system",
}


class CacherError(Exception):
    """The base: `message` says what failed while doing what, `hint` the next step to take."""

    status = 70
    kind = "bug"

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class Miss(CacherError):
    """The key is not in the cache, and no fallback produced it."""

    status = 1
    kind = "miss"


class UsageError(CacherError):
    """A bad flag, a bad key, a bad or missing configuration."""

    status = 2
    kind = "usage"


class StoreError(CacherError):
    """The store could not be reached, or failed; a later run may succeed."""

    status = 3
    kind = "store"


class Unanswered(StoreError):
    """The store gave no answer, or not all of it; the next request would most likely get none."""


class Silent(Unanswered):
    """The store cannot be reached, or says nothing: no connection that was made has broken."""


class EntryChanged(StoreError):
    """The entry was replaced or deleted while it was read; reading it again may succeed."""


class AccessError(CacherError):
    """The store refused the request: credentials, permission, region, clock or quota."""

    status = 4
    kind = "access"


class IntegrityError(CacherError):
    """The data that arrived is not the data that was stored: truncated, or another digest."""

    status = 5
    kind = "integrity"


class SourceError(CacherError):
    """The origin failed: a `--url` could not be fetched, docker failed."""

    status = 6
    kind = "source"


class LocalError(CacherError):
    """This machine failed: disk full, permission, a missing program, a file that changed."""

    status = 7
    kind = "local"


class NewerFormat(LocalError):
    """The entry has a format that this version does not know."""


class OutOfThreads(LocalError):
    """The system does not start another thread."""

    def __init__(
        self,
        message: str = "cannot start a thread: the limit of this machine is reached",
        hint: str = "see `ulimit -u` and the cgroup's pids.max",
    ) -> None:
        super().__init__(message, hint)

    @classmethod
    def meant_by(cls, error: RuntimeError, *, jobs: int = 1) -> BaseException:
        """Return the error for a thread, the first of `jobs`, that could not be started.

        Starting waits for the thread to run. If a signal's exception comes then, it breaks a lock,
        and the complaint about that hides it.
        """
        meant = cls()
        if jobs > 1:
            meant.hint = f"--jobs 1 needs fewer threads; {meant.hint}"
        return error.__context__ or meant


class Stopped(BaseException):
    """A signal that ends the run after cleaning up.

    Not an `Exception`: no handler that copes with failures may swallow it.
    """

    def __init__(self, signum: int) -> None:
        super().__init__(signum)
        self.signum = signum

    @property
    def status(self) -> int:
        """The exit status a shell gives a program ended by this signal."""
        return 128 + self.signum


class TimedOut(BaseException):
    """`--timeout` has passed. Raised in the main thread, wherever that is."""

    def __init__(self, seconds: float) -> None:
        super().__init__(seconds)
        self.seconds = seconds


def unexpected(error: Exception) -> CacherError:
    """Return the error to report for one that nobody raised on purpose, which is its cause."""
    if isinstance(error, MemoryError):
        reported: CacherError = LocalError(
            "out of memory", "a smaller --jobs or --part-size needs less"
        )
    elif isinstance(error, ImportError):
        reported = _incomplete(error)
    else:
        text = f"a bug in cacher: {type(error).__name__}: {error}"
        reported = CacherError(text, "--debug shows where; please report it")
    reported.__cause__ = error
    return reported


def limit_hint(error: BaseException | None) -> str:
    """Return the next step for a limit of this machine that was reached; empty for other errors."""
    return _LIMITS.get(error.errno or 0, "") if isinstance(error, OSError) else ""


def writing_hint(error: OSError, target: str, argument: str) -> str:
    """Return the next step for a `target` that cannot be written, and that need not exist."""
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
    # By the effective ids, as the system decides; `access` takes the real ones by default.
    if os.access(place, os.W_OK | os.X_OK, effective_ids=os.access in os.supports_effective_ids):
        return f"something in {place} belongs to another user than {os.geteuid()}"
    return (
        f"user {os.geteuid()} needs write access to {place}, "
        f"which belongs to user {status.st_uid} and has mode {status.st_mode & 0o7777:04o}"
    )


def os_reason(error: OSError) -> str:
    """Return why the system refused, as in every message: without a capital letter."""
    return (error.strerror or str(error)).lower()


def _incomplete(error: ImportError) -> LocalError:
    """Return the error for a module of cacher or of Python that is missing or cannot be loaded."""
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


def escaped(character: str) -> str:
    """Return an unprintable character for a message; a byte that is not UTF-8 as `\\xff`."""
    code = ord(character)
    if 0xDC80 <= code <= 0xDCFF:  # how Python passes on such a byte
        return f"\\x{code - 0xDC00:02x}"
    return character.encode("unicode_escape").decode()


def quoted(text: str) -> str:
    """Return text for a message: quoted, with unprintable characters escaped."""
    # Bytes that are not UTF-8 as in `escaped`; `repr` shows Python's surrogates.
    return re.sub(r"(?<!\\)\\udc([89a-f][0-9a-f])", r"\\x\1", repr(text))
