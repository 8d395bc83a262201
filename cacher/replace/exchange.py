"""Exchanges two names of one file system in one step.

The only module that calls the C library itself: Python has no function for it.
"""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Callable

_LINUX_EXCHANGE = 2
"""RENAME_EXCHANGE of renameat2(2)."""

_DARWIN_SWAP = 2
"""RENAME_SWAP of renameatx_np(2)."""

_NUMBERS = {
    # renameat2 in the kernel's tables of system calls, for C libraries without a function for it
    # (musl, glibc before 2.28).
    "aarch64": 276,
    "loongarch64": 276,
    "ppc64le": 357,
    "riscv64": 276,
    "s390x": 347,
    "x86_64": 316,
}

_Call = Callable[[int, bytes, int, bytes], int]


def exchange(first: bytes, first_parent: int, second: bytes, second_parent: int) -> None:
    """Swap two names, each in a directory given by its descriptor. Links are not followed.

    Raises `OSError`: ENOSYS, EINVAL or ENOTSUP where the system or the file system cannot.
    """
    try:
        import ctypes

        call = _call()
    except (ImportError, AttributeError, OSError) as error:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS)) from error
    if call(first_parent, first, second_parent, second):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def _call() -> _Call:
    """Return the function that swaps. Raises `AttributeError` where there is none."""
    import ctypes

    library = ctypes.CDLL(None, use_errno=True)
    name = "renameatx_np" if sys.platform == "darwin" else "renameat2"
    flags = _DARWIN_SWAP if sys.platform == "darwin" else _LINUX_EXCHANGE
    try:
        function = getattr(library, name)
    except AttributeError:
        return _system_call(library.syscall)

    function.argtypes = [ctypes.c_int, ctypes.c_char_p] * 2 + [ctypes.c_uint]
    return lambda *names: int(function(*names, flags))


def _system_call(syscall: Callable[..., int]) -> _Call:
    import ctypes

    # A 32-bit program on a 64-bit kernel has other numbers.
    number = _NUMBERS.get(os.uname().machine) if sys.maxsize > 1 << 32 else None
    if number is None or not sys.platform.startswith("linux"):
        raise AttributeError("no number of renameat2 is known")

    def call(first_parent: int, first: bytes, second_parent: int, second: bytes) -> int:
        return syscall(
            ctypes.c_long(number),
            ctypes.c_int(first_parent),
            ctypes.c_char_p(first),
            ctypes.c_int(second_parent),
            ctypes.c_char_p(second),
            ctypes.c_uint(_LINUX_EXCHANGE),
        )

    return call
