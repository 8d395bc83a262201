"""An S3-backed cache helper for CI jobs: files, directories and docker images.

Importing the package loads nothing else: `cacher --help` must start at once.
"""

__version__ = "0.1.0"
