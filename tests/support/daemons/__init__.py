"""Container engines and a registry, each started apart from whatever the machine runs itself.

Each module starts one kind: `with docker.start() as daemon: ...`. In tests ask for the fixtures of
`tests/conftest.py` instead: `docker_daemon`, `fresh_daemon`, `podman`, `registry`, ...
"""
