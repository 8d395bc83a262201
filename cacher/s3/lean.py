"""Lets urllib3 load without its HTTP/2, which must be switched on, and is not here.

`urllib3.connection` imports `urllib3.http2`, and that `importlib.metadata`, with half of email, csv
and zipfile: a tenth of the time in which a command starts (urllib3 2.2 to 2.8). To be imported
before urllib3.
"""

import sys
from types import ModuleType


def _spare_http2() -> None:
    if "urllib3" in sys.modules:
        return  # whoever has loaded it may want all of it
    package, probe = ModuleType("urllib3.http2"), ModuleType("urllib3.http2.probe")
    package.__path__ = []
    package.probe = probe  # type: ignore[attr-defined]
    sys.modules.setdefault("urllib3.http2", package)
    sys.modules.setdefault("urllib3.http2.probe", probe)


_spare_http2()
