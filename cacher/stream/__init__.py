"""Bytes on the move: knows nothing of S3."""
