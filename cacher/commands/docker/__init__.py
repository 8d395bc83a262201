"""`docker download` and `docker upload`."""
