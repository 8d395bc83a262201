"""Keys: templates, and hashes of files."""
