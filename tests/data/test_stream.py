"""Images that stay on the disk give the same batches as images in memory, and everything else treats them alike."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from erde_nas.data import load, memory
from erde_nas.data import on_disk as pixels
from erde_nas.data.dataset import Dataset
from erde_nas.data.load import describe, load_dataset
from erde_nas.data.stream import read_ahead
from erde_nas.data.views import Views
from erde_nas.errors import UserError
from erde_nas.recipe.images import DatasetSection, ViewsSection

CPU = torch.device("cpu")
ALL = {"crop_padding": 2, "flip": True, "cutout": 3}


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """Three classes of 14 colour images of noise, of several sizes; one file is gray, two names are unusual."""
    generator = np.random.default_rng(0)
    for label in ("ant", "bee", "wäsp"):
        (tmp_path / "images" / label).mkdir(parents=True)
        for i in range(14):
            pixels = generator.integers(0, 256, (9 + i % 3, 11, 3)).astype(np.uint8)
            name = "ein käfer.png" if i == 3 else f"{i:02}.png"
            Image.fromarray(pixels[..., 0] if i == 5 else pixels).save(tmp_path / "images" / label / name)
    return tmp_path / "images"


def section(images: Path, **changes: object) -> DatasetSection:
    return DatasetSection.model_validate({"name": "folder", "path": str(images), "image_size": 10, **changes})


def datasets(images: Path, **changes: object) -> tuple[Dataset, Dataset]:
    """The same images in memory and on the disk."""
    return load_dataset(section(images, stream="never", **changes)), load_dataset(
        section(images, stream="always", **changes)
    )


def views_of(dataset: Dataset, **changes: object) -> Views:
    return Views(dataset.train, ViewsSection.model_validate(changes), seed=3, device=CPU)


@pytest.mark.parametrize("changes", [{}, {"crop_padding": 2}, {"flip": True}, {"cutout": 3}, ALL])
def test_a_batch_is_the_same_pixels_as_in_memory(images: Path, changes: dict[str, object]) -> None:
    memory_, disk = (views_of(dataset, **changes) for dataset in datasets(images))
    assert disk.streamed
    assert not memory_.streamed
    assert torch.equal(disk.labels, memory_.labels)
    assert (len(disk), disk.image_shape, disk.device) == (len(memory_), memory_.image_shape, CPU)
    for number in (0, 2, 1):
        chosen = torch.tensor([7, 0, 7, len(disk) - 1])
        assert torch.equal(disk.batch(number, chosen), memory_.view(number)[chosen])
        assert torch.equal(disk.order(number, 1), memory_.order(number, 1))


@pytest.mark.parametrize(("batch_size", "rest"), [(4, False), (4, True), (100, False)])
@pytest.mark.parametrize("cores", [1, 3])
def test_batches_read_ahead_are_the_same_in_the_same_order(
    images: Path, batch_size: int, rest: bool, cores: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("erde_nas.data.stream.usable_cores", lambda: list(range(cores)))
    memory_, disk = (views_of(dataset, **ALL) for dataset in datasets(images))
    order = disk.order(0)
    random_before = torch.get_rng_state()
    got = list(disk.batches(1, order, batch_size, rest=rest))
    assert torch.equal(torch.get_rng_state(), random_before)  # dropout draws the same numbers either way
    expected = list(memory_.batches(1, order, batch_size, rest=rest))
    assert len(got) == len(expected)
    for (chosen, batch), (other_chosen, other) in zip(got, expected, strict=True):
        assert torch.equal(chosen, other_chosen)
        assert torch.equal(batch, other)
        assert torch.equal(batch, memory_.view(1)[chosen])


def test_full_batches_alone_unless_there_is_but_one_or_the_rest_is_asked_for(images: Path) -> None:
    views = views_of(load_dataset(section(images, stream="never", train_limit=10)))
    order = views.order(0)

    def sizes(batch_size: int, rest: bool = False) -> list[int]:
        return [len(chosen) for chosen, _ in views.batches(0, order, batch_size, rest=rest)]

    assert sizes(4) == [4, 4]
    assert sizes(4, rest=True) == [4, 4, 2]
    assert sizes(5) == [5, 5]
    assert sizes(11) == [10]
    assert torch.equal(torch.cat([chosen for chosen, _ in views.batches(0, order, 4)]), order[:8])


def test_a_reader_that_is_left_early_ends(images: Path) -> None:
    views = views_of(load_dataset(section(images, stream="always")))
    order = views.order(0)
    for _ in range(3):
        chosen, batch = next(iter(views.batches(0, order, 4)))
        assert torch.equal(batch, views.batch(0, chosen))


def test_the_whole_view_is_not_to_be_had(images: Path) -> None:
    with pytest.raises(RuntimeError, match="use batch or batches"):
        views_of(load_dataset(section(images, stream="always"))).view(0)


def test_a_dataset_on_the_disk_is_the_one_in_memory(images: Path) -> None:
    memory_, disk = datasets(images, train_limit=24)
    assert disk.train.images.shape == (0, 3, 10, 10)
    assert len(disk.train) == len(memory_.train) == 24
    np.testing.assert_array_equal(disk.train.labels, memory_.train.labels)
    np.testing.assert_array_equal(pixels.read_pixels(disk.train, slice(None)), memory_.train.images)
    np.testing.assert_array_equal(pixels.read_pixels(disk.train, np.array([5, 1])), memory_.train.images[[5, 1]])
    for part in ("validation", "test"):
        np.testing.assert_array_equal(getattr(disk, part).images, getattr(memory_, part).images)
        np.testing.assert_array_equal(getattr(disk, part).labels, getattr(memory_, part).labels)
        assert getattr(disk, part).paths is None
    np.testing.assert_allclose(disk.mean, memory_.mean)
    np.testing.assert_allclose(disk.std, memory_.std)
    assert {**describe(disk), "fingerprint": 0} == {**describe(memory_), "fingerprint": 0}


def test_mean_and_std_of_images_on_the_disk_are_those_of_a_sample(
    images: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(load, "_SAMPLE", 8)
    monkeypatch.setattr(load, "_CHUNK", 4)
    memory_, disk = datasets(images)
    sample = memory_.train.images[:8] / 255
    np.testing.assert_allclose(disk.mean, sample.mean(axis=(0, 2, 3)))
    np.testing.assert_allclose(disk.std, sample.std(axis=(0, 2, 3)))
    everything = memory_.train.images / 255
    np.testing.assert_allclose(memory_.mean, everything.mean(axis=(0, 2, 3)))


def test_a_fingerprint_of_files_tells_another_file_name_seed_or_limit(images: Path) -> None:
    def fingerprint(**changes: object) -> str:
        return load_dataset(section(images, stream="always", **changes)).fingerprint

    first = fingerprint()
    assert fingerprint() == first
    prints = {first, fingerprint(seed=1), fingerprint(train_limit=20), fingerprint(image_size=12)}
    for path in (images / "ant").iterdir():
        path.touch()
    prints.add(fingerprint())
    for path in (images / "ant").iterdir():
        path.rename(path.with_name("x" + path.name))
    prints.add(fingerprint())
    assert len(prints) == 6


def test_where_the_folder_lies_does_not_change_its_fingerprint(images: Path, tmp_path: Path) -> None:
    first = load_dataset(section(images, stream="always")).fingerprint
    images.rename(tmp_path / "elsewhere")
    assert load_dataset(section(tmp_path / "elsewhere", stream="always")).fingerprint == first


@pytest.fixture
def memory_of(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """From the call on, this many bytes of memory are available."""

    def pretend(size: int) -> None:
        monkeypatch.setattr(pixels, "available_bytes", lambda: size)

    return pretend


def test_auto_keeps_on_the_disk_what_fills_a_quarter_of_the_memory(
    images: Path, memory_of: Callable[[int], None]
) -> None:
    size = 42 * 3 * 10 * 10
    memory_of(4 * size)
    assert load_dataset(section(images)).train.paths is None
    memory_of(4 * size - 4)
    dataset = load_dataset(section(images))  # all of them do not fit, but what is left of train does
    assert dataset.train.paths is None
    np.testing.assert_array_equal(dataset.train.images, datasets(images)[0].train.images)
    assert dataset.fingerprint == datasets(images)[0].fingerprint
    memory_of(2 * size)
    assert load_dataset(section(images)).train.paths is not None
    assert load_dataset(section(images, stream="never")).train.paths is None


def test_a_test_split_that_does_not_fit_is_refused(images: Path, memory_of: Callable[[int], None]) -> None:
    memory_of(3000)
    with pytest.raises(
        UserError, match=r"the test images need 2\.7 kB, more than half of the 3 kB .*; lower dataset\.t"
    ):
        load_dataset(section(images, stream="always", validation=0.05))


def test_sizes_are_checked_from_the_headers(images: Path) -> None:
    with pytest.raises(
        UserError, match=r"01\.png: images must be of one size.*00\.png is 11x9; set dataset\.image_size"
    ):
        load_dataset(section(images, stream="always", image_size=None))
    for path in images.rglob("*.png"):
        Image.open(path).resize((12, 12)).save(path)
    memory_, disk = datasets(images, image_size=None)
    assert disk.train.images.shape == (0, 3, 12, 12)
    np.testing.assert_array_equal(pixels.read_pixels(disk.train, slice(None)), memory_.train.images)
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by a quarter: what is 12 wide is 8 wide as it is shown
    Image.new("RGB", (12, 8)).save(images / "ant" / "01.png", exif=exif)
    with pytest.raises(UserError, match=r"ant/01\.png: .* this one is 8x12 and .*ant/00\.png is 12x12; set"):
        load_dataset(section(images, stream="always", image_size=None))


@pytest.mark.parametrize("workers", [0, 2])
def test_a_file_that_breaks_while_it_is_used_is_named(images: Path, workers: int) -> None:
    train = load_dataset(section(images, stream="always")).train
    for path in (images / "ant").glob("*.png"):
        path.write_bytes(b"no image")
    with pytest.raises(UserError, match=r"^[^\n]*ant/\S+( \S+)?\.png: cannot be read as an image [^\n]*$"):
        list(read_ahead(train, [np.arange(len(train))[i : i + 6] for i in range(0, len(train), 6)], workers))


def test_stream_belongs_to_folder() -> None:
    with pytest.raises(UserError, match=r"dataset\.stream belongs to folder, not to 'digits', but is always"):
        load_dataset(DatasetSection(name="digits", stream="always"))


def test_a_container_may_have_less_memory_than_the_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "CGROUP", tmp_path)
    whole = memory.available_bytes()
    assert whole > 10**8
    (tmp_path / "memory.max").write_text("1000000\n")
    (tmp_path / "memory.current").write_text("700000\n")
    (tmp_path / "memory.stat").write_text("anon 5\ninactive_file 200000\nslab 7\n")
    assert memory.available_bytes() == 500_000  # the file cache can be dropped
    (tmp_path / "memory.max").write_text("max\n")
    assert memory.available_bytes() == pytest.approx(whole, rel=0.3)


@pytest.mark.parametrize(
    ("size", "text"),
    [(0, "0 bytes"), (999, "999 bytes"), (1000, "1 kB"), (3456, "3.46 kB"), (2e6, "2 MB"), (999.9e3, "1 MB"),
     (20.5e9, "20.5 GB"), (4.2e12, "4200 GB")],
)  # fmt: skip
def test_sizes_in_words(size: float, text: str) -> None:
    assert memory.readable(size) == text
