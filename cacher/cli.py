"""The program: parse, dispatch, and turn errors and signals into exit statuses.

The one seam of lazy loading: parsing needs argparse alone, and only then is the command's module
loaded. Also the only reader of the environment, and the owner of signals and clocks.
"""

from __future__ import annotations

import os
import signal
import sys

from cacher import __version__, arguments
from cacher.errors import CacherError, LocalError, Stopped, StoreError, TimedOut, UsageError
from cacher.options import SETTINGS, SWITCHES, attribute

TYPE_CHECKING = False  # importing typing costs more than parsing
if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import Callable, Mapping, Sequence

    from cacher.commands.outcome import Outcome
    from cacher.commands.run import Run
    from cacher.report import Report

_STOPPING = ("SIGINT", "SIGTERM", "SIGHUP")


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; its exit status."""
    given = list(sys.argv[1:] if argv is None else argv)
    _catch_signals()
    try:
        options = arguments.build().parse_args(given)
        _apply_switches(options, os.environ)
        if options.version or options.command == "version":
            print(f"cacher {__version__}")  # noqa: T201 - there is no report yet
            return 0
        if options.command is None:
            raise UsageError("no command given", "`cacher --help` lists the commands")
        if options.command == "key":
            return _print_key(options)
    except UsageError as error:
        return _refuse(error, as_json="--json" in given or _is_on("CACHER_JSON", os.environ))
    except CacherError as error:
        return _refuse(error, as_json=options.json)
    except Stopped as stopped:
        return stopped.status
    except SystemExit as done:  # --help
        return int(done.code or 0)
    return _run(options, os.environ)


def _run(options: Namespace, environ: Mapping[str, str]) -> int:
    """Run the command with all that it needs; report what becomes of it."""
    import random
    import time

    from cacher.commands.run import Run
    from cacher.report import Report, colors_wanted

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
    run = Run(
        flags={attribute(name): getattr(options, attribute(name), None) for name, *_ in SETTINGS},
        config_file=getattr(options, "config", None),
        environ=environ,
        report=report,
        arm=_arm,
        clock=time.time,
        pause=time.sleep,
        random=random.random,
    )
    return _guarded(options, run, report)


def _guarded(options: Namespace, run: Run, report: Report) -> int:
    """The command's exit status, whatever it does."""
    try:
        try:
            outcome = _COMMANDS[options.command](run, options)
            _finish(options.command, outcome, report)
            return outcome.status
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            run.close()
    except CacherError as error:
        return _fail(error, options, report)
    except TimedOut as timeout:
        late = f"{options.command}: not done after {timeout.seconds:g} s (--timeout)"
        return _fail(
            StoreError(late, "a later run may succeed; --timeout allows more"), options, report
        )
    except Stopped as stopped:
        report.say(f"stopped by {signal.Signals(stopped.signum).name}")
        return stopped.status
    except BrokenPipeError:
        # Whoever read stdout has seen enough; as a program would that SIGPIPE ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return 128 + signal.SIGPIPE
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        name = f" ({error.filename})" if error.filename else ""
        return _fail(LocalError(f"{options.command}: {reason}{name}"), options, report)
    except Exception as error:
        text = f"a bug in cacher: {type(error).__name__}: {error}"
        return _fail(CacherError(text, "--debug shows where; please report it"), options, report)


def _finish(command: str, outcome: Outcome, report: Report) -> None:
    if report.as_json and command != "list":
        report.json(
            {
                "command": command,
                "outcome": outcome.outcome,
                "status": outcome.status,
                **outcome.fields,
                "warnings": report.warnings,
            }
        )
    report.flush()
    if outcome.text:
        report.say(outcome.text)


def _fail(error: CacherError, options: Namespace, report: Report) -> int:
    """Report a failure to people and, if they asked, to machines; its exit status."""
    if options.debug:
        import traceback

        traceback.print_exception(error.__context__ or error, file=sys.stderr)
    if error.kind == "miss":
        report.say(error.message)
    else:
        report.error(error)
    if report.as_json:
        told = {"kind": error.kind, "message": error.message, "hint": error.hint or None}
        report.json(
            {
                "command": options.command,
                "outcome": "miss" if error.kind == "miss" else "error",
                "status": error.status,
                "key": getattr(options, "key", None),
                "warnings": report.warnings,
                "error": None if error.kind == "miss" else told,
            }
        )
        report.flush()
    return error.status


def _refuse(error: CacherError, *, as_json: bool) -> int:
    """Report what is wrong with a command line, without loading anything for it."""
    if as_json:
        import json

        told = {"kind": error.kind, "message": error.message, "hint": error.hint or None}
        failure = {"outcome": "error", "status": error.status, "warnings": [], "error": told}
        print(json.dumps(failure))  # noqa: T201 - there is no report yet
    text = f"cacher: error: {error.message}\n"
    if error.hint:
        text += f"cacher: hint: {error.hint}\n"
    sys.stderr.write(text)
    return error.status


def _print_key(options: Namespace) -> int:
    import time

    from cacher.keys import resolve

    machine = os.uname()
    key = resolve(
        options.key,
        options.hash_from,
        now=time.time(),
        system=machine.sysname,
        machine=machine.machine,
    )
    if options.json:
        import json

        told = {"command": "key", "outcome": "resolved", "status": 0, "key": key, "warnings": []}
        key = json.dumps(told)
    print(key)  # noqa: T201 - there is no report yet
    return 0


def _download(run: Run, options: Namespace) -> Outcome:
    from cacher.commands.download import Download, download
    from cacher.commands.outcome import check_sha256

    if options.dest == "-" and options.json:
        raise UsageError("--json and DEST - both want stdout", "give DEST a name")
    key = run.key(options.key, options.hash_from)
    sha256 = check_sha256(options.sha256)
    wanted = Download(key, options.dest, options.url, sha256, store_it=not options.no_store)
    return download(run, wanted)


def _upload(run: Run, options: Namespace) -> Outcome:
    from cacher.commands.outcome import check_sha256
    from cacher.commands.upload import Upload, upload

    key = run.key(options.key, options.hash_from)
    return upload(run, Upload(key, options.file, check_sha256(options.sha256), options.force))


def _exists(run: Run, options: Namespace) -> Outcome:
    from cacher.commands.entries import exists

    return exists(run, run.key(options.key, options.hash_from))


def _list(run: Run, options: Namespace) -> Outcome:
    from cacher.commands.entries import Listing, list_entries

    return list_entries(run, Listing(options.below, options.sort, options.reverse))


def _delete(run: Run, options: Namespace) -> Outcome:
    from cacher.commands.entries import Removal, delete

    if bool(options.keys) == (options.below is not None):
        raise UsageError("delete wants either keys or --prefix P", "`cacher delete --help`")
    keys = [run.key(template, options.hash_from) for template in options.keys]
    at_terminal = sys.stdin is not None and sys.stdin.isatty() and sys.stderr.isatty()
    wanted = Removal(keys, options.below, options.dry_run, options.yes)
    return delete(run, wanted, _ask if at_terminal else None)


def _init(run: Run, options: Namespace) -> Outcome:
    from cacher.commands.setup import init

    return init(run, check=not options.no_check)


def _doctor(run: Run, _options: Namespace) -> Outcome:
    from cacher.commands.setup import doctor

    return doctor(run)


_COMMANDS: dict[str, Callable[[Run, Namespace], Outcome]] = {
    "delete": _delete,
    "doctor": _doctor,
    "download": _download,
    "exists": _exists,
    "init": _init,
    "list": _list,
    "upload": _upload,
}


def _ask(question: str) -> bool:
    sys.stderr.write(f"cacher: {question} [y/N] ")
    sys.stderr.flush()
    return sys.stdin.readline().strip().lower() in ("y", "yes")


def _apply_switches(options: Namespace, environ: Mapping[str, str]) -> None:
    """Give every switch a value: from the command line, or else from its variable."""
    for _, name, variable, _ in SWITCHES:
        if not hasattr(options, name):
            setattr(options, name, _is_on(variable, environ))


def _is_on(variable: str, environ: Mapping[str, str]) -> bool:
    return environ.get(variable, "").lower() not in ("", "0", "false", "no", "off")


def _catch_signals() -> None:
    """Let signals raise `Stopped` in this thread, so that everything is undone on the way out."""

    def stop(signum: int, _frame: object) -> None:
        # Undoing takes a moment and must not be undone itself. It is bounded by time-outs.
        for name in _STOPPING:
            signal.signal(getattr(signal, name), signal.SIG_IGN)
        raise Stopped(signum)

    for name in _STOPPING:
        number = getattr(signal, name)
        # A shell starts background jobs with SIGINT ignored, and nohup does so with SIGHUP.
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, stop)


def _arm(seconds: float) -> None:
    """Let `TimedOut` be raised in this thread after so many seconds."""

    def ring(_signum: int, _frame: object) -> None:
        raise TimedOut(seconds)

    signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, seconds)
