"""The context that a command runs in: settings, clocks, output, and the configured store.

HTTP is loaded when it is first needed: a hit in a local store must not wait for it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property, partial
from typing import TYPE_CHECKING

from cacher import __version__
from cacher.commands.key import resolve_key
from cacher.errors import CacherError, IntegrityError, TimedOut, UsageError, os_reason
from cacher.keys import template as keys
from cacher.progress import Progress
from cacher.report import Report, counted
from cacher.settings import config, environment
from cacher.settings.config import Settings
from cacher.store.interface import Entry, Store
from cacher.store.local.store import LocalStore
from cacher.time_limits import LIMITS, Clocks, Limits

if TYPE_CHECKING:
    from cacher.http.transport import Transport
    from cacher.store.s3_store import S3Store

_MOST_NAMES = 5
"""Names that a warning lists; more are counted."""


class Context:
    """One run of one command.

    `start_timeout` begins the countdown of `--timeout` seconds.
    """

    def __init__(
        self,
        *,
        flags: Mapping[str, str | None],
        config_file: str | None,
        environ: Mapping[str, str],
        report: Report,
        start_timeout: Callable[[float], None],
        clocks: Clocks,
        limits: Limits = LIMITS,
        debug: bool = False,
    ) -> None:
        self.flags = flags
        self.config_file = config_file
        self.environ = environ
        self.report = report
        self.start_timeout = start_timeout
        self.clocks = clocks
        self.limits = limits
        self.debug = debug

    @cached_property
    def settings(self) -> Settings:
        """The settings in force. Reading them starts the countdown of `--timeout`."""
        return self.use(config.load_settings(self.flags, self.environ, self.config_file))

    def use(self, settings: Settings) -> Settings:
        """Use these settings from now on, and start the countdown of `--timeout`.

        Warns of settings that look like a mistake. Raises `UsageError` for a bucket without an
        endpoint.
        """
        for text in environment.unknown_variables(self.environ):
            self.report.warn(text)
        environment.check_endpoint(settings, self.environ)
        if environment.is_default(settings):
            self.report.fields["default_store"] = settings.directory
            self.report.say(f"no endpoint is set: using the local store {settings.directory}")
        self.warn_of_prefix(settings.prefix)
        if settings.timeout:
            self.start_timeout(settings.timeout)
        self.__dict__["settings"] = settings
        return settings

    def warn_of_prefix(self, prefix: str) -> None:
        """Warn of a prefix that is probably a mistake."""
        if warning := keys.prefix_warning(prefix):
            self.report.warn(*warning)

    def ignore_prefix(self) -> None:
        """Ignore the configured prefix from now on. To be called before the store is opened."""
        self.__dict__["settings"] = self.settings._replace(prefix="")

    @cached_property
    def transport(self) -> Transport:
        """The one pool of connections, for the store and for origins."""
        from cacher.http.proxies import Proxies
        from cacher.http.transport import Transport

        settings = self.settings
        if settings.ca_file and not os.path.isfile(settings.ca_file):
            raise _no_certificates(settings)
        on_request = None
        if self.report.verbose:
            from cacher.commands.verbose_output import show_request

            on_request = partial(show_request, self.report, headers=self.debug)
        return Transport(
            ca_files=(settings.ca_file,) if settings.ca_file else (),
            proxies=Proxies(self.environ),
            user_agent=f"cacher/{__version__}",
            connections=settings.jobs + 1,
            connect_timeout=self.limits.connect,
            stall_timeout=self.limits.stall,
            speed_limits=self.limits,
            monotonic=self.clocks.monotonic,
            on_request=on_request,
        )

    @property
    def local_directory(self) -> str | None:
        """The directory of the local store; None for a store on a bucket."""
        return self.settings.directory if self.settings.is_local else None

    @cached_property
    def store(self) -> Store:
        """The store that the settings name. Raises `UsageError` for settings that name none."""
        if self.settings.is_local:
            directory = self.settings.directory
            if os.path.lexists(directory) and not os.path.isdir(directory):
                raise UsageError(f"the endpoint {self.settings.endpoint} is not a directory")
            self._note_settings()
            return LocalStore(directory, self.settings.prefix)
        return self.bucket

    @cached_property
    def bucket(self) -> S3Store:
        """The store, if it is on a bucket."""
        from cacher.store.open_store import open_bucket

        store, found = open_bucket(
            self.settings,
            self.environ,
            self.transport,
            self.clocks,
            self.limits,
            self.report.note,
        )
        self._note_settings()
        self.report.note(f"credentials from {found.source}")
        if found.ignored:
            self.report.warn(found.ignored, "leave the flags out, or unset the variables")
        for note in found.notes:
            self.report.note(note)
        return store

    def _note_settings(self) -> None:
        if self.report.verbose:
            from cacher.commands.verbose_output import settings_line

            self.report.note(settings_line(self.settings))

    def store_or_warn(self, store: Callable[..., object], *args: object) -> bool:
        """Call `store` with `args` to store what a fallback got; return whether it is stored.

        A failure is only a warning. The job has its file or image by now, so a store that hangs
        gets less time than before.
        """
        if "bucket" in self.__dict__:
            self.bucket.client.session.limits = self.limits.for_background()
        try:
            store(*args)
        except CacherError as error:
            self.report.warn(f"not stored for next time: {error.message}", error.hint)
            return False
        except TimedOut as error:
            late = f"not done after {error.seconds:g} s (--timeout)"
            self.report.warn(f"not stored for next time: {late}")
            return False
        return True

    def key(self, template: str, hash_from: Sequence[str], *, literal: bool = False) -> str:
        """Return the key that a template resolves to on this machine, legal under the prefix.

        A `literal` one is not a template.
        """
        prefix = self.settings.prefix  # first, so that --timeout covers the hashing
        return resolve_key(
            template,
            hash_from,
            literal=literal,
            now=self.clocks.clock(),
            warn=self.report.warn,
            prefix=prefix,
        )

    def existing(self, key: str) -> Entry | None:
        """Return the entry that an upload would replace; None if it is damaged or not there.

        A bucket that is missing is not noticed here, but by the request that stores.
        """
        try:
            with Progress(self.report, f"looking for {key},", counts=False):
                return self.store.head(key, verify_bucket=False)
        except IntegrityError as error:
            self.report.warn(f"{error.message}; replacing it")
            return None

    def close(self) -> None:
        """Close the connections. Warns of directories that could not be listed."""
        store = self.__dict__.get("store")
        if isinstance(store, LocalStore) and store.left_out:
            self.report.warn(*_left_out(store.left_out))
        for name in ("store", "bucket", "transport"):
            if name in self.__dict__:
                self.__dict__[name].close()


def _no_certificates(settings: Settings) -> UsageError:
    """Return why the file of certificates, which is not a regular file, cannot be used."""
    file, source = settings.ca_file, settings.sources.get("ca_file", "--ca-file")
    hint = "it takes a file of PEM certificates"
    if os.path.isdir(file):
        return UsageError(f"{source}: is a directory: {file}", hint)
    try:
        os.stat(file)
    except OSError as error:
        if not isinstance(error, FileNotFoundError):
            return UsageError(f"{source}: {os_reason(error)}: {file}", hint)
        return UsageError(f"{source}: no such file: {file}")
    return UsageError(f"{source}: is not a regular file: {file}", hint)


def _left_out(directories: Sequence[str]) -> tuple[str, str]:
    """Return the warning about directories of a local store that may not be read, and its hint."""
    more = len(directories) - _MOST_NAMES
    names = ", ".join(directories[:_MOST_NAMES]) + (f" and {more} more" if more > 0 else "")
    count = counted(len(directories), "directory", "directories")
    return (
        f"left out {count} of the local store that user {os.geteuid()} may not read: {names}",
        "check the owner and the mode",
    )
