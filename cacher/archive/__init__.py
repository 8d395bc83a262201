"""The sealed zstd stream: what an entry of a directory or an image is."""
