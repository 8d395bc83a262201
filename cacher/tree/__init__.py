"""Directory trees: packed and unpacked."""
