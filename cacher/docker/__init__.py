"""Container engines and the archives that they save."""
