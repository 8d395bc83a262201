"""Real S3 servers on loopback, for tests and benchmarks.

Each module starts one kind: `with seaweedfs.start() as server: ...`. In tests ask for the session
fixtures of `tests/conftest.py` instead: `seaweedfs`, `juicefs`, `garage`, `each_server`, ...
"""
