from pathlib import Path

import pytest

from erde_nas.data.cache import cache_dir


@pytest.mark.parametrize(
    ("own", "xdg", "expected"),
    [
        ("/a/own", "/b/xdg", "/a/own"),
        (None, "/b/xdg", "/b/xdg/erde-nas"),
        ("", "/b/xdg", "/b/xdg/erde-nas"),
        (None, "relative", "/c/home/.cache/erde-nas"),
        (None, None, "/c/home/.cache/erde-nas"),
        ("~/own", None, "/c/home/own"),
    ],
)
def test_order_of_precedence(own: str | None, xdg: str | None, expected: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/c/home")
    for name, value in (("ERDE_NAS_CACHE", own), ("XDG_CACHE_HOME", xdg)):
        if value is None:
            monkeypatch.delenv(name, raising=False)
        else:
            monkeypatch.setenv(name, value)
    assert cache_dir() == Path(expected)
