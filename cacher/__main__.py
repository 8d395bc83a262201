"""`python -m cacher`."""

import sys

from cacher.cli import main

sys.exit(main())
