"""The options that every command takes: the one table for flags, environment and config file.

Every start loads it, so it must stay as cheap as argparse. Which values are legal is in
`config.py`.
"""

from __future__ import annotations

TYPE_CHECKING = False  # importing typing costs more than parsing
if TYPE_CHECKING:
    from collections.abc import Mapping

SETTINGS = (
    # name (flag `--name`, config key `name`), metavar, variable, help
    (
        "endpoint",
        "URL",
        "CACHER_ENDPOINT",
        "connect to this store: http(s)://HOST[:PORT], or file:///DIRECTORY",
    ),
    ("region", "NAME", "CACHER_REGION", "use this region (default: the one that the store names)"),
    ("bucket", "NAME", "CACHER_BUCKET", "use this bucket"),
    ("prefix", "PREFIX", "CACHER_PREFIX", "store each entry as the object PREFIX/KEY"),
    ("key-file", "FILE", "CACHER_KEY_FILE", "read the access key id from this file"),
    ("secret-file", "FILE", "CACHER_SECRET_FILE", "read the secret access key from this file"),
    ("ca-file", "FILE", "CACHER_CA_FILE", "trust the certificates (PEM) in this file, too"),
    ("timeout", "SECONDS", "CACHER_TIMEOUT", "give up after this long, whatever is under way"),
    ("jobs", "N", "CACHER_JOBS", "send up to N requests at a time (default 4)"),
    (
        "part-size",
        "SIZE",
        "CACHER_PART_SIZE",
        "upload in parts of this size (default 16MiB, 10MiB for a stream)",
    ),
)

SWITCHES = (
    # flags, attribute, variable, help
    (("--json",), "json", "CACHER_JSON", "print one JSON object on stdout, whatever happens"),
    (("-q", "--quiet"), "quiet", "CACHER_QUIET", "print only warnings and errors"),
    (
        ("-v", "--verbose"),
        "verbose",
        "CACHER_VERBOSE",
        "print each request and where settings came from",
    ),
    (("--debug",), "debug", "CACHER_DEBUG", "print more: headers without secrets, and tracebacks"),
)


_YES = ("1", "true", "yes", "on")
_NO = ("", "0", "false", "no", "off")


def is_on(variable: str, environ: Mapping[str, str]) -> bool:
    """Return whether a switch's variable turns it on; any value but a no does."""
    return environ.get(variable, "").strip().lower() not in _NO


def is_unclear(variable: str, environ: Mapping[str, str]) -> bool:
    """Return whether the value of a switch's variable is neither yes nor no."""
    return environ.get(variable, "").strip().lower() not in (*_YES, *_NO)


def attribute(name: str) -> str:
    """Return the name of an option's attribute among the parsed arguments."""
    return name.replace("-", "_")
