"""What the project page tells a reader to type does what it says."""

from __future__ import annotations

import hashlib
import html
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.fakes.origin import Origin, Reply
from tests.fakes.s3server import FakeS3Server
from tests.packaging.sites import ROOT, TEMPLATE, VERSION, sha256
from tests.packaging.test_readme import blocks
from tests.support.servers import programs


def command(name: str) -> str:
    text = (ROOT / TEMPLATE).read_text()
    (found,) = re.findall(rf'<code data-run="{name}">(.*?)</code></pre>', text, re.DOTALL)
    return html.unescape(found)


def shell(script: str, cwd: Path, home: Path, **environ: str) -> subprocess.CompletedProcess[str]:
    """As in a job: HOME/.local/bin first on PATH, `cacher` and an S3 client among them."""
    path = f"{home / '.local/bin'}:{Path(sys.executable).parent}:{os.environ['PATH']}"
    return subprocess.run(
        ["bash", "-ec", script],
        cwd=cwd,
        env={**os.environ, "HOME": str(home), "PATH": path, **environ},
        capture_output=True,
        text=True,
    )


def program(home: Path, name: str, text: str) -> None:
    place = home / ".local/bin" / name
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_text(text)
    place.chmod(0o755)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """With `cacher` from this checkout, and an `aws` whose buckets are directories."""
    home = tmp_path / "home"
    program(
        home,
        "cacher",
        f'#!/bin/sh\nPYTHONPATH={ROOT} exec {sys.executable} -m cacher "$@"\n',
    )
    program(
        home,
        "aws",
        """#!/bin/sh
[ "$1 $2 $#" = "s3 cp 4" ] || exit 252
echo "$3 $4" | sed "s|s3://|$HOME/s3/|g" | { read -r from to; cp "$from" "$to"; }
""",
    )
    (home / "s3/ci-cache").mkdir(parents=True)
    return home


def test_every_command_line_is_run() -> None:
    text = (ROOT / TEMPLATE).read_text()
    assert re.findall(r'data-run="(\w+)"', text) == ["before", "after", "start", "dir", "install"]
    assert text.count("<pre ") == text.count('<code data-run="')


@pytest.mark.parametrize("program", ["sha256sum", "shasum -a 256"])
def test_the_recipe_installs_it(site: Path, tmp_path: Path, program: str) -> None:
    programs.require(program.split()[0], provider="apt-get install coreutils perl")
    assert f"<code>{program}</code>" in (ROOT / TEMPLATE).read_text()
    downloads = tmp_path / "downloads"
    downloads.mkdir()
    for name in ("cacher.pyz", "checksums.txt"):
        shutil.copy(site / name, downloads)
    script = command("install").replace("sha256sum", program)
    done = shell(script, downloads, tmp_path / "home")
    assert done.returncode == 0, done.stderr
    assert "cacher.pyz: OK\n" in done.stdout
    assert VERSION in done.stdout


def test_the_recipe_refuses_another_file(site: Path, tmp_path: Path) -> None:
    shutil.copy(site / "checksums.txt", tmp_path)
    (tmp_path / "cacher.pyz").write_text("#!/bin/sh\n")
    # As where it is pasted: a shell that goes on after a line that failed.
    done = shell(f"set +e\n{command('install')}", tmp_path, tmp_path / "home")
    assert done.returncode == 1
    assert "cacher.pyz: FAILED" in done.stdout
    assert not (tmp_path / "home").exists()


def test_the_quick_start(site: Path, tmp_path: Path) -> None:
    """As on two machines, with an address, a store and its credentials filled in."""
    script = command("start")
    assert len(script.splitlines()) == 4
    body = os.urandom(100_000)
    with FakeS3Server() as server, Origin() as origin:
        filled = {
            "{{SITE}}": site.as_uri(),
            "https://s3.example.org": server.endpoint,
            "ci-cache": server.bucket,
            "KEY_ID=...": f"KEY_ID={server.access_key}",
            "SECRET=...": f"SECRET={server.secret_key}",
        }
        for shown, real in filled.items():
            assert shown in script
            script = script.replace(shown, real)
        url = origin.script("/go.tar.gz", Reply(body=body))
        for machine, outcome in (("first", "miss"), ("second", "hit")):
            home = tmp_path / machine
            home.mkdir()
            done = shell(script, home, home, URL=url, SHA256=hashlib.sha256(body).hexdigest())
            assert done.returncode == 0, done.stderr
            assert f"cacher: {outcome} go.tar.gz" in done.stderr
            assert (home / "go.tar.gz").read_bytes() == body
        assert len(origin.seen) == 1


@pytest.mark.parametrize("which", ["before", "after"])
def test_the_loop(which: str, home: Path, tmp_path: Path) -> None:
    """Both come to the same: fetched once, stored, found the next time without the origin."""
    origin = tmp_path / "origin"
    origin.write_bytes(os.urandom(100_000))
    # curl's and cacher's origin: served once, by a process that ends.
    serve = (
        f"import http.server, sys\n"
        f"class H(http.server.BaseHTTPRequestHandler):\n"
        f"    def do_GET(self):\n"
        f"        data = open({str(origin)!r}, 'rb').read()\n"
        f"        self.send_response(200)\n"
        f"        self.send_header('Content-Length', str(len(data)))\n"
        f"        self.end_headers()\n"
        f"        self.wfile.write(data)\n"
        f"server = http.server.HTTPServer(('127.0.0.1', 0), H)\n"
        f"print(server.server_port, flush=True)\n"
        f"server.serve_forever()\n"
    )
    environ = {
        "SHA256": sha256(origin),
        "CACHER_ENDPOINT": (home / "s3/ci-cache").as_uri(),
    }
    with subprocess.Popen([sys.executable, "-c", serve], stdout=subprocess.PIPE, text=True) as one:
        try:
            assert one.stdout is not None
            environ["URL"] = f"http://127.0.0.1:{one.stdout.readline().strip()}/go.tar.gz"
            first = shell(command(which), tmp_path, home, **environ)
        finally:
            one.kill()
    assert first.returncode == 0, first.stderr
    assert (home / "s3/ci-cache/go.tar.gz").read_bytes() == origin.read_bytes()
    (tmp_path / "go.tar.gz").unlink()
    again = shell(command(which), tmp_path, home, **environ)
    assert again.returncode == 0, again.stderr
    assert (tmp_path / "go.tar.gz").read_bytes() == origin.read_bytes()


def test_a_tree_of_dependencies(home: Path, tmp_path: Path) -> None:
    program(
        home, "npm", "#!/bin/sh\nmkdir node_modules\necho $* | tee -a $HOME/npm >node_modules/a\n"
    )
    (tmp_path / "package-lock.json").write_text("{}")
    environ = {"CACHER_ENDPOINT": (home / "s3/ci-cache").as_uri()}
    for _ in range(2):
        done = shell(command("dir"), tmp_path, home, **environ)
        assert done.returncode == 0, done.stderr
        assert (tmp_path / "node_modules/a").read_text() == "ci\n"
        shutil.rmtree(tmp_path / "node_modules")
    assert (home / "npm").read_text() == "ci\n"


def test_what_is_shown_is_that_of_the_readme() -> None:
    readme = " ".join(" ".join(blocks(ROOT / "README.md", "sh")).split())
    for which in ("before", "after", "dir"):
        assert " ".join(command(which).replace("\\\n", "").split()) in readme


def test_the_commands_are_those_of_the_readme() -> None:
    rows = re.findall(r"^\| `([a-z]+(?: [a-z]+)?)[ `]", (ROOT / "README.md").read_text(), re.M)
    listed = re.findall(r"<tr><td><code>([a-z]+(?: [a-z]+)?)[ <]", (ROOT / TEMPLATE).read_text())
    assert sorted(listed) == sorted(rows)
