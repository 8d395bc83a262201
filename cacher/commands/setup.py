"""`init` and `doctor`."""
