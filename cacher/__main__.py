"""`python -m cacher`."""

import sys

from cacher.cli import signals

signals.use_default_sigint()

from cacher.cli.main import main  # noqa: E402 - which takes most of the start

sys.exit(main())
