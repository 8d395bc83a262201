"""The tests: `tests/run` is the one command that sets everything up and runs them."""
