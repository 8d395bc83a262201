"""Import this before urllib3, to load it without its HTTP/2 support, which is not used.

`urllib3.connection` imports `urllib3.http2`, and that `importlib.metadata`, with half of email, csv
and zipfile: a tenth of the time in which a command starts (urllib3 2.2 to 2.8). An empty package
stands in for it; its submodules are the real ones.
"""

import sys
from importlib.util import find_spec
from types import ModuleType


def _stand_in() -> None:
    if "urllib3" in sys.modules:
        return  # the importer may use all of it
    found = find_spec("urllib3")
    if found is None or found.submodule_search_locations is None:
        return  # importing urllib3 will fail
    package = ModuleType("urllib3.http2")
    package.__path__ = [f"{place}/http2" for place in found.submodule_search_locations]
    sys.modules.setdefault("urllib3.http2", package)


_stand_in()
