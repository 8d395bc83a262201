"""One module for each group of commands; `cli.py` loads only the one that was asked for."""
