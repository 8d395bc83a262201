"""What the headers of an object tell, and what they cannot."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cacher.s3.object_head import read_head, store_date


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("Thu, 01 Jan 1970 00:00:00 GMT", 0.0),
        ("Fri, 27 Nov 2026 10:00:00 GMT", 1795773600.0),
        ("", None),
        ("yesterday", None),
        ("Fri, 27 Nov 1900 10:00:00 GMT", None),
        ("Fri, 31 Dec 9999 23:59:59 -2300", None),
        (f"Fri, 27 Nov {'9' * 20} 10:00:00 GMT", None),
        (f"Fri, 27 Nov {'9' * 5000} 10:00:00 GMT", None),
        (f"Fri, {'9' * 5000} Nov 2026 10:00:00 GMT", None),
        (f"Fri, 27 Nov 2026 10:00:00 +{'9' * 30}", None),
    ],
)
def test_dates(text: str, seconds: float | None) -> None:
    found = store_date(text)
    assert found == seconds


@given(
    st.lists(
        st.sampled_from(["Fri,", "1", "Nov", "2026", "10:00:00", "GMT", "-0000", ":", "9" * 30, ""])
    )
)
def test_no_date_is_so_odd_that_it_fails(words: list[str]) -> None:
    found = store_date(" ".join(words))
    assert found is None or found >= 0


@pytest.mark.parametrize("length", ["", "-1", "1" * 20, "9" * 5000, "²"])
def test_a_length_that_cannot_be_is_not_told(length: str) -> None:
    assert read_head({"content-length": length}).size == -1
