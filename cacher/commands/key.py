"""`key`: resolve a key template on this machine.

Loads nothing but what templates need: `cacher key` must start as fast as `--help`.
"""

from __future__ import annotations

import os

from cacher.keys import template as keys

TYPE_CHECKING = False  # importing typing costs more than resolving a key
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


def resolve_key(
    template: str,
    hash_from: Sequence[str],
    *,
    literal: bool,
    now: float,
    warn: Callable[[str, str], None],
    prefix: str = "",
) -> str:
    """Return the key that a template resolves to at the POSIX time `now`, legal under `prefix`.

    With `literal` it is not a template. Calls `warn` with a text and a hint for a key that looks
    like a template still. Raises `UsageError` for an illegal key, and `LocalError` for files of
    `hash_from` that cannot be hashed.
    """
    if literal:
        return keys.check_literal(template, hash_from, prefix)
    machine = os.uname()
    key = keys.resolve_template(
        template, hash_from, now=now, system=machine.sysname, machine=machine.machine
    )
    keys.check_key(key, prefix)
    if warning := keys.brace_warning(key):
        warn(*warning)
    return key
