"""HTTP, for stores and for `--url`. Knows no S3."""
