"""The S3 client: knows nothing of caches."""
