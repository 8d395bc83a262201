"""The commands of `docker`."""
