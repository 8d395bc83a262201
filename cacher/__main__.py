"""`python -m cacher`."""

import sys

from cacher import signals

signals.begin()

from cacher.cli import main

sys.exit(main())
