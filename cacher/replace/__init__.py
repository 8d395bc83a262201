"""Putting a finished tree in place of another, all or nothing."""
