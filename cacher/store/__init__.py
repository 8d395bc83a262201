"""Where entries live: the `Store` protocol, and the stores that keep it."""
