"""JuiceFS's gateway and `cacher.pyz` in one container, which has a loopback interface alone.

The gateway is one static binary, so it runs wherever the kernel does. Its volume is the bucket:
nobody in the container could make one.
"""

from __future__ import annotations

from pathlib import Path
from subprocess import CompletedProcess

from tests.support.daemons.docker import Daemon
from tests.support.servers import base, process, programs

BUCKET = base.BUCKET

ENDPOINT = "http://127.0.0.1:9000"

LOG = "server.log"
"""What the gateway has said, in the directory to work in."""

_SCRIPT = "loopback.sh"

_NOT_SERVING = 9
"""The script's exit status if the gateway does not come up; cacher has none like it."""

_SERVE = f"""\
serves() {{
    python3 -I -c 'if True:
        import http.client
        asked = http.client.HTTPConnection("127.0.0.1", 9000, timeout=50)
        asked.request("GET", "/")  # unsigned, so refused once it serves; 503 until then
        raise SystemExit(asked.getresponse().status != 403)' 2>/dev/null
}}
juicefs format --storage file --bucket /srv/data/ --trash-days 0 badger:///srv/meta {BUCKET} \
    >{LOG} 2>&1 || exit {_NOT_SERVING}
juicefs --no-agent gateway badger:///srv/meta 127.0.0.1:9000 --object-tag --keep-etag \
    --object-meta --no-usage-report --no-banner --backup-meta 0 --cache-dir /srv/cache \
    --cache-size 0 --metrics 127.0.0.1:9001 >>{LOG} 2>&1 &
server=$!
end=$(($(date +%s) + 60))  # it needs a second on two idle cores
until serves; do
    kill -0 $server && [ $(date +%s) -lt $end ] || exit {_NOT_SERVING}
    sleep 0.1
done
"""

_ENDS = """\
ends() {
    want=$1; shift
    "$@"; got=$?
    [ $got = $want ] || { echo "\\`$*\\` ended with $got, not with $want" >&2; exit 1; }
}
"""


def juicefs() -> Path:
    """The gateway's program. Raises `ProgramNotFound`."""
    return programs.find("juicefs", package="juicefs", provider="tests/run")


def run(
    daemon: Daemon, image: str, program: Path, work: Path, script: str
) -> CompletedProcess[bytes]:
    """Run `script` in `work`, in a container without a network, once `program` serves there.

    The script has `$server`, the gateway's process id, `ends STATUS COMMAND...`, which fails it
    unless the command ends so, and what leads to the bucket but for its names. Raises
    `StartFailed` with the gateway's log.
    """
    owner = base.Credentials.new()
    (work / _SCRIPT).write_text(_ENDS + _SERVE + script)
    variables = {
        "HOME": "/srv/home",
        "TMPDIR": "/srv",
        "GOMEMLIMIT": "1GiB",
        "MINIO_ROOT_USER": owner.access_key,
        "MINIO_ROOT_PASSWORD": owner.secret_key,
        "CACHER_S3_KEY_ID": owner.access_key,
        "CACHER_S3_SECRET": owner.secret_key,
    }
    done = daemon.run(
        *("run", "--rm", "--network", "none", "--read-only", "--tmpfs", "/srv"),
        *("--volume", f"{program}:/usr/local/bin/juicefs:ro", "--volume", f"{work}:/mnt"),
        *(word for item in variables.items() for word in ("--env", "=".join(item))),
        *("--workdir", "/mnt", image, "sh", "-u", _SCRIPT),
        check=False,
    )
    (work / _SCRIPT).unlink()
    if done.returncode == _NOT_SERVING:
        raise process.StartFailed("juicefs is not serving in the container", work / LOG)
    return done
