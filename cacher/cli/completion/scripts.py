"""The scripts, by shell."""

from __future__ import annotations

from cacher.cli.completion import bash, fish, zsh
from cacher.cli.completion.command_tree import program


def script(shell: str) -> str:
    """Return the script for `bash`, `zsh` or `fish`, without a newline at its end."""
    made = {"bash": bash.script, "zsh": zsh.script, "fish": fish.script}[shell](program())
    return made.rstrip("\n")
