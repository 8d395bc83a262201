"""Doubles that check their callers.

`s3server.FakeS3Server` is the door: an S3 server in this process which verifies every request on
its own, behaves like Garage where Garage is odd, and fails when told to. Nothing in here imports
from `cacher`, so no mistake can be made twice the same way.
"""
