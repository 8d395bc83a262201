"""`doctor` on credentials: whose they are, what is odd about them, and never what they are."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.conftest import Run
from tests.fakes.profile import AWS, GARAGE, AccessKey, Profile
from tests.support.doctor_helpers import Chart, Serve

MARK = "MARKED"
MARKED = AccessKey("GKmarked", f"{MARK}-0123456789abcdef0123456789abcdef")


class TestCredentials:
    @pytest.mark.parametrize("profile", [GARAGE, AWS], ids=["garage", "aws"])
    @pytest.mark.parametrize(
        ("name", "says", "hint"),
        [
            ("CACHER_S3_SECRET", "Invalid signature", "check the secret key"),
            ("CACHER_S3_KEY_ID", "No such key", "the store does not know this key id"),
        ],
    )
    def test_wrong_ones(
        self,
        cacher: Run,
        serve: Serve,
        monkeypatch: pytest.MonkeyPatch,
        profile: Profile,
        name: str,
        says: str,
        hint: str,
    ) -> None:
        serve(profile)
        monkeypatch.setenv(name, f"{MARK}-wrong")
        ended = cacher("doctor")
        err = ended.failed(4)
        assert says in err
        assert f"cacher: hint: {hint}" in err
        chart = Chart(ended)
        assert chart.names("fail") == ["bucket", "list", "write"]
        assert (chart["clock"].state, chart["region"].state) == ("ok", "skip")
        assert "permissions" not in chart  # nothing is known of them
        assert name == "CACHER_S3_KEY_ID" or MARK not in ended.text + err

    @pytest.mark.parametrize(
        ("given", "says"),
        [
            (f"{MARKED.secret}\n", "ends in a stray newline (ignored)"),
            (f"{MARKED.secret} ", "begins or ends with a space"),
            (f'"{MARKED.secret}"', "holds a quote"),
        ],
    )
    def test_odd_ones(
        self,
        cacher: Run,
        serve: Serve,
        monkeypatch: pytest.MonkeyPatch,
        given: str,
        says: str,
    ) -> None:
        serve(keys=[MARKED])
        monkeypatch.setenv("CACHER_S3_SECRET", given)
        ended = cacher("doctor")
        chart = Chart(ended)
        assert chart.texts("credentials", "warn") == [f"CACHER_S3_SECRET {says}"]
        assert ended.status == (0 if "newline" in says else 4)
        assert MARK not in ended.text + ended.err

    def test_files(self, cacher: Run, serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
        serve(keys=[MARKED])
        for name in ("CACHER_S3_KEY_ID", "CACHER_S3_SECRET"):
            monkeypatch.delenv(name)
        for name, text in (("id", MARKED.id), ("secret", MARKED.secret)):
            Path(name).write_text(f"{text}\n")
            Path(name).chmod(0o600)
        flags = ("--key-file", "id", "--secret-file", "secret")
        ended = cacher("doctor", *flags)
        assert ended.status == 0
        assert Chart(ended).names("warn") == []  # files end in a newline
        assert Chart(ended)["credentials"].text.startswith("from id and secret: ")
        Path("secret").chmod(0o644)
        ended = cacher("doctor", *flags)
        assert ended.status == 0
        warned = Chart(ended).texts("credentials", "warn")
        assert warned == ["secret can be read by everybody on this machine"]
        assert MARK not in ended.text + ended.err

    def test_a_secret_in_place_of_its_file(self, cacher: Run, serve: Serve) -> None:
        serve()
        ended = cacher("doctor", "--key-file", "id", "--secret-file", MARKED.secret)
        assert ended.status == 0  # the variables win
        assert Chart(ended)["secret-file"].text == "no such file (from --secret-file)"
        assert Chart(ended)["secret-file"].state == "warn"
        assert MARK not in ended.text + ended.err

    def test_none_and_the_network_is_looked_at_all_the_same(
        self, cacher: Run, serve: Serve, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        place = serve()
        monkeypatch.delenv("CACHER_S3_SECRET")
        ended = cacher("doctor")
        assert "half a pair of credentials" in ended.failed(2)
        chart = Chart(ended)
        assert chart.names("fail") == ["credentials"]
        assert chart["tcp"].state == "ok"
        assert "bucket" not in chart.names("fail")
        assert place.server.requests == []
