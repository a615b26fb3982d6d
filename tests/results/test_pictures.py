"""Small pictures of test images: the same pixels where they are small, within their room, of offered points alone."""

import base64
import io
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from erde_nas.data.dataset import Split
from erde_nas.report_data.evidence import TestAnswers
from erde_nas.results import pictures
from erde_nas.results.pictures import pictures_of
from tests.results.test_build_report import measured


def _split(*shape: int) -> Split:
    images = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    return Split(images, np.zeros(len(images), np.int64))


def _point(*places: int, offered: bool = True):
    answers = TestAnswers((1,), (1,), examples=(tuple((place, 0, 1) for place in places),))
    return replace(measured("a", 0.9, 1.0), answers=answers, offered=offered)


def _opened(uri: str) -> Image.Image:
    return Image.open(io.BytesIO(base64.b64decode(uri.split(",")[1])))


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_small_images_keep_their_pixels(channels: int) -> None:
    test = _split(5, channels, 28, 28)
    found = pictures_of(test, [_point(1, 3), _point(4, offered=False), replace(_point(), answers=None)])
    assert set(found) == {"1", "3"}
    shown = np.asarray(_opened(found["3"]))
    wanted = test.images[3][0] if channels < 3 else test.images[3][:3].transpose(1, 2, 0)
    assert np.array_equal(shown, wanted)


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_large_images_are_made_small(channels: int) -> None:
    (picture,) = pictures_of(_split(1, channels, 224, 224), [_point(0)]).values()
    assert _opened(picture).size == (48, 48)
    assert len(picture) < 6000


def test_what_has_no_room_is_left_out_the_rarest_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pictures, "MOST", 5000)
    found = pictures_of(_split(9, 1, 28, 28), [_point(*range(9)), _point(7), _point(7, 5), _point(7, 5)])
    assert list(found)[:2] == ["7", "5"]
    assert 2 <= len(found) < 9
    assert sum(map(len, found.values())) <= 5000
