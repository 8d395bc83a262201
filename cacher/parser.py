"""argparse, as this program wants it. Imported by every start: argparse, and nothing else."""

from __future__ import annotations

import argparse
import os

from cacher.errors import UsageError

TYPE_CHECKING = False  # importing typing costs more than parsing
if TYPE_CHECKING:
    from typing import Any, NoReturn


class _Formatter(argparse.RawDescriptionHelpFormatter):
    """Knows the terminal's width without shutil, which loads every compressor there is."""

    def __init__(self, prog: str) -> None:
        try:
            width = os.get_terminal_size().columns
        except OSError:
            width = 80
        super().__init__(prog, width=min(width, 100) - 2)


class Parser(argparse.ArgumentParser):
    """A parser that guesses nothing, and whose errors are the program's own."""

    def __init__(self, **options: Any) -> None:
        super().__init__(allow_abbrev=False, formatter_class=_Formatter, **options)

    def error(self, message: str) -> NoReturn:
        """Raises `UsageError`."""
        raise UsageError(message, f"`{self.prog} --help` shows how")
