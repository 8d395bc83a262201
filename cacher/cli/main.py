"""The program: from the command line to an exit status.

The one seam of lazy loading: parsing needs argparse alone, and only then is the command's module
loaded. The only reader of the environment, and the owner of clocks.
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
from cacher.report import Report, colors_wanted
from cacher.settings.options import SETTINGS, SWITCHES, attribute, is_on, is_unclear

TYPE_CHECKING = False  # importing typing costs more than parsing
if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import Mapping, Sequence
    from typing import Any

    from cacher.cli.arguments import Parser
    from cacher.commands.command_result import CommandResult
    from cacher.commands.context import Context
    from cacher.time_limits import Limits


def main(argv: Sequence[str] | None = None, limits: Limits | None = None) -> int:
    """Run one command and return its exit status. `limits` replace the usual time limits."""
    words = list(sys.argv[1:] if argv is None else argv)
    stdio.reserve_descriptors()
    signals.install_handlers(time.monotonic)
    options = _options_until_parsed(words, os.environ)
    report = _make_report(options, os.environ)
    try:
        try:
            options, unclear = _parse(words, os.environ)
            report = _make_report(options, os.environ)
            _check_switches(options, unclear, os.environ)
            return _run(options, os.environ, report, limits)
        except Stopped as stopped:
            return _report_stop(stopped, options, report)
        except BrokenPipeError:
            raise
        except (Exception, TimedOut) as error:
            return _report_failure(_to_cacher_error(error, options), options, report)
    except Stopped as stopped:
        return stopped.status
    except BrokenPipeError:
        # Whoever read stdout has seen enough; end as a program does that SIGPIPE ends.
        return signals.BROKEN_PIPE
    finally:
        signals.cancel_timeout()
        stdio.discard_unwritten()


# --- options and output --------------------------------------------------------------------------


def _options_until_parsed(words: Sequence[str], environ: Mapping[str, str]) -> Namespace:
    """Return the options for reporting that the command line is wrong."""
    from argparse import Namespace

    as_json = "--json" in words or is_on("CACHER_JSON", environ)
    return Namespace(command=None, json=as_json, quiet=False, verbose=False, debug=False)


def _parse(words: Sequence[str], environ: Mapping[str, str]) -> tuple[Namespace, list[str]]:
    """Return the options of a command line, and the switches' variables that are unclear.

    A switch that no flag has set has its variable's value. Raises `UsageError`.
    """
    options, unclear = arguments.parse(words), []
    for _, name, variable, _ in SWITCHES:
        if not hasattr(options, name):
            setattr(options, name, is_on(variable, environ))
            unclear += [variable] if is_unclear(variable, environ) else []
    return options, unclear


def _check_switches(options: Namespace, unclear: Sequence[str], environ: Mapping[str, str]) -> None:
    """Raise `UsageError` for a variable that is neither yes nor no, except for a page of help."""
    if unclear and options.command not in (None, "help"):
        options.debug = False  # a traceback says no more than the error
        name = unclear[0]
        raise UsageError(f"{name}: {environ[name]!r} is neither yes nor no", "use 1 or 0")


def _make_report(options: Namespace, environ: Mapping[str, str]) -> Report:
    return Report(
        stdout=sys.stdout,
        stderr=sys.stderr,
        monotonic=time.monotonic,
        as_json=options.json,
        quiet=options.quiet,
        verbose=options.verbose or options.debug,
        colored=colors_wanted(environ),
    )


# --- running -------------------------------------------------------------------------------------


def _run(
    options: Namespace, environ: Mapping[str, str], report: Report, limits: Limits | None
) -> int:
    """Run the command, report its result and return its exit status."""
    if getattr(options, "version", False):
        _print_version(report, {})
    elif options.command is None:
        return _show_usage(options, report)
    elif options.command == "help":
        _print(report, "help", "shown", text=_help(options.page))
    elif options.command == "version":
        from cacher.cli.version_info import bundled, verified

        if options.verify:
            _print(report, "version", "shown", verified=verified())
        else:
            _print_version(report, bundled())
    elif options.command == "key":
        from cacher.commands.key import resolve_key

        key = resolve_key(
            options.key,
            options.hash_from,
            literal=options.literal,
            now=time.time(),
            warn=report.warn,
        )
        _print(report, "key", "resolved", key=key)
    elif options.command == "completion":
        from cacher.cli.completion.scripts import script

        _print(report, "completion", "shown", script=script(options.shell))
    else:
        return _run_with_store(options, environ, report, limits)
    return 0


def _run_with_store(
    options: Namespace, environ: Mapping[str, str], report: Report, limits: Limits | None
) -> int:
    """Run a command that needs settings, report its result and return its exit status."""
    from cacher.cli.dispatch import run_command

    sys.stdout.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    context = _make_context(options, environ, report, limits)
    try:
        result = run_command(context, options)
    finally:
        signals.cancel_timeout()
        context.close()
    _report_result(options.command, result, report)
    return result.status


def _make_context(
    options: Namespace, environ: Mapping[str, str], report: Report, limits: Limits | None
) -> Context:
    import random

    from cacher.commands.context import Context
    from cacher.time_limits import LIMITS, Clocks

    return Context(
        flags={attribute(name): getattr(options, attribute(name), None) for name, *_ in SETTINGS},
        config_file=getattr(options, "config", None),
        environ=environ,
        report=report,
        start_timeout=lambda seconds: signals.start_timeout(seconds, time.monotonic),
        clocks=Clocks(
            time.sleep, random.random, report.monotonic, time.time, ended_at=signals.ended_at
        ),
        limits=limits or LIMITS,
        debug=options.debug,
    )


def _show_usage(options: Namespace, report: Report) -> int:
    """Show the page that `cacher` alone shows; return the status of a wrong usage."""
    report.text(f"{_help(arguments.build())}\n")
    error = UsageError("no command is given")
    _print_failure(options, report, "error", error.status, _error_fields(error))
    return error.status


def _help(page: Parser | str) -> str:
    """Return a page of the help, for the width of the terminal."""
    from cacher.cli import help_pages

    try:
        columns = int(os.environ.get("COLUMNS", "")) or os.get_terminal_size().columns
    except (OSError, ValueError):
        columns = help_pages.WIDEST
    if isinstance(page, str):
        return help_pages.options_page(arguments.build(), columns)
    return help_pages.page(page, columns)


# --- reporting -----------------------------------------------------------------------------------


def _print(report: Report, command: str, outcome: str, **fields: str) -> None:
    """Print the one field of a command that needs no store: as it is, or in JSON."""
    if report.as_json:
        result = {"command": command, "outcome": outcome, "status": 0, **fields}
        report.json(result | report.shared_fields())
    else:
        report.raw(*fields.values())
    report.flush()


def _print_version(report: Report, bundled: Mapping[str, str]) -> None:
    if report.as_json:
        _print(report, "version", "shown", version=__version__, **bundled)
    else:
        lines = [f"cacher {__version__}", *(f"{name}: {text}" for name, text in bundled.items())]
        _print(report, "version", "shown", version="\n".join(lines))


def _report_result(command: str, result: CommandResult, report: Report) -> None:
    if report.as_json and command != "list":
        fields: dict[str, Any] = {"command": command, "outcome": result.outcome}
        fields |= {"status": result.status, **result.fields, **report.shared_fields()}
        if result.error:
            fields["error"] = _error_fields(result.error)
        report.json(fields)
    report.flush()
    if result.error:
        report.error(result.error)
    elif result.text:
        report.say(result.text)


def _to_cacher_error(error: BaseException, options: Namespace) -> CacherError:
    """Return the error to report for any that ends a command."""
    if isinstance(error, CacherError):
        return error
    if isinstance(error, TimedOut):
        return StoreError(
            f"{options.command}: not done after {error.seconds:g} s (--timeout)",
            "a later run may succeed; --timeout allows more",
        )
    if isinstance(error, OSError):
        name = f" ({error.filename})" if error.filename else ""
        failure = LocalError(f"{options.command}: {os_reason(error)}{name}")
        failure.__cause__ = error
        return failure
    assert isinstance(error, Exception)  # noqa: S101 - `main` catches no others
    return unexpected(error)


def _report_failure(error: CacherError, options: Namespace, report: Report) -> int:
    """Report a failure to people and, if they asked, to machines; return its exit status."""
    if options.debug and not options.quiet:
        import traceback

        # A context that `from None` has suppressed may hold a secret.
        context = None if error.__suppress_context__ else error.__context__
        trace = traceback.format_exception(error.__cause__ or context or error)
        report.text("".join(trace))
    error.hint = error.hint or limit_hint(error.__cause__)
    if error.kind == "miss":
        report.say(error.message)
        _print_failure(options, report, "miss", error.status, None)
    else:
        report.error(error)
        _print_failure(options, report, "error", error.status, _error_fields(error))
    return error.status


def _report_stop(stopped: Stopped, options: Namespace, report: Report) -> int:
    """Report that a signal has ended the run; return its exit status."""
    # Whoever reads our output may hang, and then another signal must help.
    signals.restore_default_soon()
    text = f"stopped by {signals.signal_name(stopped.signum)}"
    report.say(text)
    error = {"kind": "signal", "message": text, "hint": None}
    _print_failure(options, report, "stopped", stopped.status, error)
    return stopped.status


def _print_failure(
    options: Namespace, report: Report, outcome: str, status: int, error: Mapping[str, Any] | None
) -> None:
    """Print a failure for machines, if they asked; `error` is None for a miss."""
    if not report.as_json:
        return
    fields = {"command": options.command, "outcome": outcome, "status": status}
    fields |= {"key": getattr(options, "key", None), "warnings": [], "error": error}
    try:
        report.json(fields | report.shared_fields())
        report.flush()
    except (LocalError, OSError):
        pass  # stderr has the message, and the status stays that of the failure


def _error_fields(error: CacherError) -> dict[str, Any]:
    """Return an error for machines."""
    return {"kind": error.kind, "message": error.message, "hint": error.hint or None}
