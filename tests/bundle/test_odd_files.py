"""The same file gives the same pixels in training, in `erde-nas predict` and in run.py, or an error in all of them."""

import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from erde_nas.data.images import SUFFIXES, check_sizes, read_image
from erde_nas.device import bundle_runner as run
from erde_nas.errors import UserError
from tests.data.odd_files import RGB, SIDE, UPRIGHT, odd, turned

pytestmark = pytest.mark.filterwarnings("ignore:Palette images with Transparency")  # Pillow's


def trained_on(path: Path, channels: int, size: int | None = SIDE) -> np.ndarray | str:
    """What training sees, or its error."""
    try:
        return read_image(path, channels=channels, size=None if size is None else (size, size))
    except UserError as error:
        return str(error)


def shipped(path: Path, channels: int, resize: bool) -> np.ndarray | str:
    """What predict and run.py see, or their error."""
    try:
        return run.read_image(path, channels, SIDE, resize)
    except run.RunError as error:
        return str(error)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return odd(tmp_path_factory.mktemp("odd"))


def test_the_same_pixels_or_the_same_error(files: list[Path]) -> None:
    read, refused = 0, 0
    for path in files:
        for channels in (1, 2, 3, 4):
            expected = trained_on(path, channels)
            for resize in (False, True):
                got = shipped(path, channels, resize)
                if isinstance(expected, str):
                    assert got == expected, (path.name, channels)
                    assert "\n" not in expected
                    assert path.name in expected
                    refused += 1
                else:
                    np.testing.assert_array_equal(got, expected, err_msg=f"{path.name}, {channels} channels")
                    assert expected.shape == (channels, SIDE, SIDE)
                    read += 1
    assert read > 300  # else the corpus is none
    assert refused > 100


def test_without_pillow_the_same_pixels_or_a_refusal(files: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    cases = [(path, channels) for path in files for channels in (1, 2, 3, 4)]
    expected = [trained_on(*case) for case in cases]
    monkeypatch.setitem(sys.modules, "PIL", None)
    read = 0
    for (path, channels), wanted in zip(cases, expected, strict=True):
        got = shipped(path, channels, resize=False)
        if isinstance(got, str):
            assert path.name in got
        else:
            np.testing.assert_array_equal(got, wanted, err_msg=f"{path.name}, {channels} channels")
            read += 1
    assert read > 40


@pytest.mark.parametrize("orientation", range(1, 9))
def test_upright_however_the_file_says_so(orientation: int, tmp_path: Path) -> None:
    for path, lossless in turned(tmp_path, orientation):
        got = trained_on(path, 3, None)
        assert not isinstance(got, str), got
        np.testing.assert_array_equal(shipped(path, 3, False), got)
        wanted = UPRIGHT[orientation](RGB)
        if lossless:
            np.testing.assert_array_equal(got.transpose(1, 2, 0), wanted, err_msg=path.name)
        else:  # nearest to the upright picture of all eight
            ways = {k: np.abs(UPRIGHT[k](RGB).astype(int) - got.transpose(1, 2, 0)).mean() for k in UPRIGHT}
            assert min(ways, key=ways.__getitem__) == orientation, (path.name, ways)


@pytest.mark.parametrize("orientation", [1, 3, 5, 6, 8])
def test_sizes_from_the_headers_are_those_of_the_pixels(orientation: int, tmp_path: Path) -> None:
    """Streaming checks headers alone: a picture that is twice as wide as high, stored and turned."""
    wide = np.repeat(RGB, 2, axis=1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tests.data.odd_files.RGB", wide)
        for path, _ in turned(tmp_path, orientation):
            _, height, width = read_image(path, channels=3).shape
            (tmp_path / "square").mkdir(exist_ok=True)
            Image.new("RGB", (4, 4)).save(tmp_path / "square" / "a.png")
            with pytest.raises(UserError, match=rf"this one is {width}x{height} and .*a\.png is 4x4"):
                check_sizes([tmp_path / "square" / "a.png", path])


def test_gray_of_a_colour_picture_is_itu_601(tmp_path: Path) -> None:
    Image.fromarray(RGB).save(tmp_path / "a.png")
    exact = RGB @ np.array([299, 587, 114]) / 1000  # (h, w)
    assert np.abs(trained_on(tmp_path / "a.png", 1)[0] - exact).max() <= 0.51


@pytest.mark.parametrize("channels", [2, 4])
def test_alpha_is_a_channel_where_it_is_wanted(channels: int, tmp_path: Path) -> None:
    rgba = np.dstack([RGB, np.arange(SIDE * SIDE).reshape(SIDE, SIDE).astype(np.uint8)])
    Image.fromarray(rgba).save(tmp_path / "a.png")
    Image.fromarray(RGB).save(tmp_path / "b.png")
    got = trained_on(tmp_path / "a.png", channels)
    np.testing.assert_array_equal(got[-1], rgba[..., 3])
    np.testing.assert_array_equal(got[:-1], trained_on(tmp_path / "a.png", channels - 1))
    assert f"b.png has no alpha channel, but {channels} channels are wanted" in trained_on(tmp_path / "b.png", channels)
    small = trained_on(tmp_path / "a.png", channels, size=5)
    for band, plane in zip(small[:-1], got[:-1], strict=True):  # each by itself, whatever alpha is
        np.testing.assert_array_equal(
            band, np.asarray(Image.fromarray(plane).resize((5, 5), Image.Resampling.BILINEAR))
        )


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_arrays(channels: int, tmp_path: Path) -> None:
    pixels = np.random.default_rng(channels).integers(0, 256, (channels, SIDE, SIDE), np.uint8)
    np.save(tmp_path / "first.npy", pixels)
    np.save(tmp_path / "last.npy", pixels.transpose(1, 2, 0))
    for name in ("first", "last"):
        np.testing.assert_array_equal(run.read_image(tmp_path / f"{name}.npy", channels, SIDE), pixels)
    for wrong in (pixels[:, :5], pixels / 255, np.repeat(pixels, 5, axis=0)):
        np.save(tmp_path / "wrong.npy", wrong)
        with pytest.raises(
            run.RunError, match=rf"wrong.npy is \S+ \(.*but the student takes uint8 \({channels}, 9, 9\)"
        ):
            run.read_image(tmp_path / "wrong.npy", channels, SIDE)
    (tmp_path / "text.npy").write_text("no array")
    with pytest.raises(run.RunError, match=r"text.npy: cannot be read as an array"):
        run.read_image(tmp_path / "text.npy", channels, SIDE)


def test_suffixes_are_those_of_pillow() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        Image.init()
    no_pictures = {"BUFR", "EPS", "GRIB", "HDF5", "IPTC", "MPEG", "WMF"}
    readable = {
        suffix for suffix, kind in Image.registered_extensions().items() if kind in Image.OPEN.keys() - no_pictures
    }
    assert readable - {".webp", ".avif", ".avifs"} <= SUFFIXES
    assert readable | {".webp", ".avif", ".avifs"} >= SUFFIXES  # those two need libraries that Pillow may lack
