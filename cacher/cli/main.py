"""The program: parse, dispatch, and turn errors and signals into exit statuses.

The one seam of lazy loading: parsing needs argparse alone, and only then is the command's module
loaded. Also the only reader of the environment, and the owner of clocks.
"""

from __future__ import annotations

import os
import sys
import time

from cacher import __version__
from cacher.cli import arguments, signals, stdio
from cacher.errors import (
    CacherError,
    LocalError,
    Stopped,
    StoreError,
    TimedOut,
    UsageError,
    limit_hint,
    os_reason,
    unexpected,
)
from cacher.settings.options import SETTINGS, SWITCHES, attribute, is_on, is_unclear

TYPE_CHECKING = False  # importing typing costs more than parsing
if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import Mapping, Sequence
    from typing import Any

    from cacher.cli.argument_parser import Parser
    from cacher.commands.command_result import CommandResult
    from cacher.commands.context import Context
    from cacher.report import Report
    from cacher.time_limits import Limits


def main(argv: Sequence[str] | None = None, limits: Limits | None = None) -> int:
    """Run one command; its exit status. `limits` are others than the usual ones."""
    given = list(sys.argv[1:] if argv is None else argv)
    stdio.reserve_descriptors()
    signals.install_handlers(time.monotonic)
    try:
        return _dispatch(given, limits)
    except Stopped as stopped:
        return stopped.status
    except ImportError as error:
        return _refuse(unexpected(error), _guess(given, os.environ))
    except BrokenPipeError:
        # Whoever read stdout has seen enough; as a program would that SIGPIPE ends.
        return signals.BROKEN_PIPE
    except OSError as error:
        _refuse(LocalError(f"writing stdout: {os_reason(error)}"), None)
        return LocalError.status
    finally:
        signals.cancel_timeout()
        stdio.discard_unwritten()


def _dispatch(given: list[str], limits: Limits | None) -> int:
    """Parse, and run what needs no more than that at once."""
    options = None
    try:
        options = arguments.parse(given)
        _apply_switches(options, os.environ)
        if options.command is None and not getattr(options, "version", False):
            return _show_usage(options)
        if _answered(options):
            return 0
    except CacherError as error:
        return _refuse(error, options or _guess(given, os.environ))
    except OSError:
        raise
    except Exception as error:
        return _refuse(unexpected(error), options or _guess(given, os.environ))
    except Stopped as stopped:
        return _stop(stopped, options or _guess(given, os.environ))
    return _run(options, os.environ, limits)


def _answered(options: Namespace) -> bool:
    """Whether the command needed no store, and has been carried out.

    Raises `CacherError`, `OSError`.
    """
    if getattr(options, "version", False):
        _print("version", "shown", options, None, version=__version__)
    elif options.command == "help":
        _print("help", "shown", options, None, text=_help(options.page))
    elif options.command == "version":
        from cacher.cli.version_info import bundled

        _print("version", "shown", options, None, version=__version__, **bundled())
    elif options.command == "key":
        key = _resolved(options)
        _print("key", "resolved", options, _remarks(options, key), key=key)
    elif options.command == "completion":
        from cacher.cli.completion.scripts import script

        _print("completion", "shown", options, None, script=script(options.shell))
    else:
        return False
    return True


def _help(page: Parser | str) -> str:
    """A page of the help, for the width of the terminal."""
    from cacher.cli import help_pages

    try:
        columns = int(os.environ.get("COLUMNS", "")) or os.get_terminal_size().columns
    except (OSError, ValueError):
        columns = help_pages.WIDEST
    if isinstance(page, str):
        return help_pages.options_page(arguments.build(), columns)
    return help_pages.page(page, columns)


def _show_usage(options: Namespace) -> int:
    """What `cacher` alone shows; the status of a wrong usage."""
    stdio.write_error(f"{_help(arguments.build())}\n")
    if options.json:
        _print_failure(_failure(UsageError("no command is given"), options))
    return UsageError.status


def _guess(given: list[str], environ: Mapping[str, str]) -> Namespace:
    """The least of the options that telling an error needs, where the command line is none."""
    from argparse import Namespace

    as_json = "--json" in given or is_on("CACHER_JSON", environ)
    return Namespace(command=None, json=as_json)


def _run(options: Namespace, environ: Mapping[str, str], limits: Limits | None) -> int:
    """Run the command with all that it needs; report what becomes of it."""
    import random

    from cacher.commands.context import Context
    from cacher.report import Report, colors_wanted
    from cacher.time_limits import LIMITS

    sys.stdout.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    report = Report(
        stdout=sys.stdout,
        stderr=sys.stderr,
        monotonic=time.monotonic,
        as_json=options.json,
        quiet=options.quiet,
        verbose=options.verbose or options.debug,
        colored=colors_wanted(environ),
    )
    context = Context(
        flags={attribute(name): getattr(options, attribute(name), None) for name, *_ in SETTINGS},
        config_file=getattr(options, "config", None),
        environ=environ,
        report=report,
        start_timeout=lambda seconds: signals.start_timeout(seconds, time.monotonic),
        clock=time.time,
        pause=time.sleep,
        random=random.random,
        ended_at=signals.ended_at,
        limits=limits or LIMITS,
        debug=options.debug,
    )
    return _guarded(options, context, report)


def _guarded(options: Namespace, context: Context, report: Report) -> int:
    """The command's exit status, whatever it does."""
    from cacher.cli.dispatch import COMMANDS

    try:
        try:
            outcome = COMMANDS[options.command](context, options)
        finally:
            signals.cancel_timeout()
            context.close()
        _finish(options.command, outcome, report)
        return outcome.status
    except CacherError as error:
        return _fail(error, options, report)
    except TimedOut as timeout:
        late = f"{options.command}: not done after {timeout.seconds:g} s (--timeout)"
        return _fail(
            StoreError(late, "a later run may succeed; --timeout allows more"), options, report
        )
    except Stopped as stopped:
        return _stop(stopped, options, report)
    except BrokenPipeError:
        raise
    except OSError as error:
        name = f" ({error.filename})" if error.filename else ""
        failure = LocalError(f"{options.command}: {os_reason(error)}{name}")
        failure.__cause__ = error
        return _fail(failure, options, report)
    except Exception as error:
        return _fail(unexpected(error), options, report)


def _finish(command: str, outcome: CommandResult, report: Report) -> None:
    """Report what was done."""
    if report.as_json and command != "list":
        told: dict[str, Any] = {"command": command, "outcome": outcome.outcome}
        told |= {"status": outcome.status, **outcome.fields, **report.shared_fields()}
        if outcome.error:
            told["error"] = _told(outcome.error)
        report.json(told)
    report.flush()
    if outcome.error:
        report.error(outcome.error)
    elif outcome.text:
        report.say(outcome.text)


def _fail(error: CacherError, options: Namespace, report: Report) -> int:
    """Report a failure to people and, if they asked, to machines; its exit status."""
    if options.debug and not options.quiet:
        import traceback

        # What was left out by `from None` may hold a secret.
        context = None if error.__suppress_context__ else error.__context__
        trace = traceback.format_exception(error.__cause__ or context or error)
        stdio.write_error("".join(trace))
    error.hint = error.hint or limit_hint(error.__cause__)
    if error.kind == "miss":
        report.say(error.message)
    else:
        report.error(error)
    if report.as_json:
        _print_failure(_failure(error, options) | report.shared_fields())
    return error.status


def _stop(stopped: Stopped, options: Namespace, report: Report | None = None) -> int:
    """Report that a signal has ended the run; its exit status."""
    # Whoever reads our output may hang, and then another signal must help.
    signals.restore_default_soon()
    text = f"stopped by {signals.signal_name(stopped.signum)}"
    if report:
        report.say(text)
    elif not getattr(options, "quiet", False):
        stdio.write_error(f"cacher: {text}\n")
    if getattr(options, "json", False):
        failure = _failure(CacherError(text), options)
        failure |= {"outcome": "stopped", "status": stopped.status}
        failure |= report.shared_fields() if report else {}
        failure["error"] = {"kind": "signal", "message": text, "hint": None}
        _print_failure(failure)
    return stopped.status


def _refuse(error: CacherError, options: Namespace | None) -> int:
    """Report what is wrong with a command line, without loading anything for it."""
    text = f"cacher: error: {error.message}\n"
    if error.hint:
        text += f"cacher: hint: {error.hint}\n"
    stdio.write_error(text)
    if options and options.json:
        _print_failure(_failure(error, options))
    return error.status


def _failure(error: CacherError, options: Namespace) -> dict[str, Any]:
    """A failure for machines."""
    missed = error.kind == "miss"
    return {
        "command": options.command,
        "outcome": "miss" if missed else "error",
        "status": error.status,
        "key": getattr(options, "key", None),
        "warnings": [],
        "error": None if missed else _told(error),
    }


def _told(error: CacherError) -> dict[str, Any]:
    """An error for machines."""
    return {"kind": error.kind, "message": error.message, "hint": error.hint or None}


def _print_failure(failure: dict[str, Any]) -> None:
    import json

    try:
        stdio.print_line(json.dumps(failure))
    except OSError:
        pass  # stderr has told; the status is still that of the failure


def _print(
    command: str,
    outcome: str,
    options: Namespace,
    remarks: Mapping[str, Any] | None,
    **fields: str,
) -> None:
    """Print what a command gives that needs no store: the first of `fields`, and lines."""
    text, *more = fields.values()
    if options.json:
        import json

        told = {"command": command, "outcome": outcome, "status": 0, **fields}
        told |= remarks or {"warnings": []}
        text = json.dumps(told)
    elif command == "version":
        lines = [f"{name}: {value}" for name, value in zip(list(fields)[1:], more, strict=True)]
        text = "\n".join([f"cacher {text}", *lines])
    stdio.print_line(text)


def _resolved(options: Namespace) -> str:
    """The key of `key`."""
    from cacher.keys.template import check_literal, resolve_template

    if options.literal:
        return check_literal(options.key, options.hash_from)
    machine = os.uname()
    return resolve_template(
        options.key,
        options.hash_from,
        now=time.time(),
        system=machine.sysname,
        machine=machine.machine,
    )


def _remarks(options: Namespace, key: str) -> dict[str, Any]:
    """Warn of a key that looks as if it were a template still; the warnings, for machines."""
    from cacher.keys.template import brace_warning

    warning = None if options.literal else brace_warning(key)
    if warning is None:
        return {"warnings": []}
    text, hint = warning
    stdio.write_error(f"cacher: warning: {text}\ncacher: hint: {hint}\n")
    return {"warnings": [text], "hints": [hint]}


def _apply_switches(options: Namespace, environ: Mapping[str, str]) -> None:
    """Give every switch a value: from the command line, or else from its variable.

    Raises `UsageError` for a variable that is neither yes nor no.
    """
    unclear = []
    for _, name, variable, _ in SWITCHES:
        if not hasattr(options, name):
            setattr(options, name, is_on(variable, environ))
            unclear += [variable] if is_unclear(variable, environ) else []
    if unclear and options.command not in (None, "help"):
        name = unclear[0]
        raise UsageError(f"{name}: {environ[name]!r} is neither yes nor no", "use 1 or 0")
