"""`python -m cacher`."""

import sys

from cacher import signals

signals.begin()

from cacher.cli import main  # noqa: E402 - which takes most of the start

sys.exit(main())
