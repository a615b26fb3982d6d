"""CIFAR, Fashion-MNIST, SVHN and Tiny ImageNet, on small files in the official layouts."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from erde_nas.data.cifar import read_cifar10, read_cifar100
from erde_nas.data.fashion_mnist import read_fashion_mnist
from erde_nas.data.kind import official
from erde_nas.data.locate import find
from erde_nas.data.svhn import read_svhn
from erde_nas.data.tiny_imagenet import read_tiny_imagenet
from erde_nas.errors import UserError
from erde_nas.recipe.images import DatasetSection

Write = Callable[..., Path]
CIFAR10, CIFAR100 = DatasetSection(name="cifar10"), DatasetSection(name="cifar100")
FASHION, SVHN = DatasetSection(name="fashion-mnist"), DatasetSection(name="svhn")
TINY = DatasetSection(name="tiny-imagenet")


@pytest.mark.parametrize("inside", [False, True])
def test_cifar10_from_the_folder_or_the_one_above(inside: bool, tmp_path: Path, write_cifar: Write) -> None:
    folder = write_cifar(tmp_path, "cifar10", per_file=20)
    raw = read_cifar10(CIFAR10, folder if inside else tmp_path)
    assert raw.test is not None
    assert raw.train.images.shape == (100, 3, 32, 32)
    assert raw.test.images.shape == (20, 3, 32, 32)
    assert raw.train.labels.tolist() == [i % 10 for i in range(20)] * 5
    assert raw.classes[:2] == ("airplane", "automobile")


def test_cifar_pixel_is_where_the_layout_says(tmp_path: Path, write_cifar: Write) -> None:
    folder = write_cifar(tmp_path, "cifar10", per_file=10)
    data = bytearray((folder / "data_batch_2.bin").read_bytes())
    green, row, column = 1, 5, 7
    data[3 * 3073 + 1 + green * 1024 + row * 32 + column] = 253  # image 3 of the second file
    (folder / "data_batch_2.bin").write_bytes(data)
    images = read_cifar10(CIFAR10, tmp_path).train.images
    assert np.argwhere(images == 253).tolist() == [[13, green, row, column]]


def test_cifar100_takes_the_fine_label(tmp_path: Path, write_cifar: Write) -> None:
    folder = write_cifar(tmp_path, "cifar100", per_file=300)
    raw = read_cifar100(CIFAR100, folder)
    assert raw.train.labels.tolist() == [i % 100 for i in range(300)]
    assert raw.train.images[:, 0, 0, 0].tolist() == [i % 256 for i in range(300)]
    assert raw.classes[7] == "class 7"


def test_cifar_class_names_from_the_meta_file(tmp_path: Path, write_cifar: Write) -> None:
    folder = write_cifar(tmp_path, "cifar100", per_file=100)
    (folder / "fine_label_names.txt").write_text("".join(f"name{i}\n" for i in range(100)) + "\n")
    assert read_cifar100(CIFAR100, folder).classes[42] == "name42"
    (folder / "fine_label_names.txt").write_text("apple\n")
    with pytest.raises(UserError, match=r"fine_label_names.txt: expected 100 class names, one a line, but got 1"):
        read_cifar100(CIFAR100, folder)


@pytest.mark.parametrize("size", [0, 3072, 3073 * 4 + 1])
def test_truncated_cifar_file_is_named(size: int, tmp_path: Path, write_cifar: Write) -> None:
    path = write_cifar(tmp_path, "cifar10", per_file=10) / "data_batch_4.bin"
    path.write_bytes(bytes(size))
    with pytest.raises(
        UserError, match=rf"data_batch_4.bin: expected a multiple of 3073 .* but got {size} bytes.*fetch"
    ):
        read_cifar10(CIFAR10, tmp_path)


def test_cifar_label_out_of_range_is_named(tmp_path: Path, write_cifar: Write) -> None:
    path = write_cifar(tmp_path, "cifar10", per_file=10) / "test_batch.bin"
    data = bytearray(path.read_bytes())
    data[6 * 3073] = 77
    path.write_bytes(data)
    with pytest.raises(UserError, match=r"test_batch.bin: labels must be 0\.\.9, but image 6 has label 77"):
        read_cifar10(CIFAR10, tmp_path)


def test_missing_cifar_file_is_named(tmp_path: Path, write_cifar: Write) -> None:
    (write_cifar(tmp_path, "cifar10", per_file=10) / "data_batch_3.bin").unlink()
    with pytest.raises(
        UserError, match=r"cifar-10-batches-bin lacks data_batch_3.bin; run `erde-nas data fetch cifar10`"
    ):
        read_cifar10(CIFAR10, tmp_path)


def test_nothing_there_names_the_places_and_the_next_steps(tmp_path: Path, cache: Path) -> None:
    with pytest.raises(UserError, match=rf"'cifar100' not found.*{cache}/cifar-100-binary.*data fetch cifar100"):
        read_cifar100(CIFAR100, None)
    with pytest.raises(UserError, match=r"data fetch fashion-mnist`, `apt install dataset-fashion-mnist`.*--data-dir"):
        read_fashion_mnist(FASHION, tmp_path)


def test_data_in_the_cache_are_found(cache: Path, write_cifar: Write) -> None:
    write_cifar(cache, "cifar10", per_file=10)
    assert len(read_cifar10(CIFAR10, None).train) == 50


def test_a_named_folder_is_never_replaced_by_the_cache(tmp_path: Path, cache: Path, write_cifar: Write) -> None:
    write_cifar(cache, "cifar10", per_file=10)
    with pytest.raises(UserError, match=f"not found.* in {tmp_path}"):
        read_cifar10(CIFAR10, tmp_path)


def test_the_cache_comes_before_the_systems_package(tmp_path: Path, cache: Path, write_fashion: Write) -> None:
    source = replace(official()["fashion-mnist"], system=(write_fashion(tmp_path / "usr", zipped=True),))
    assert find(source, None) == tmp_path / "usr"
    assert find(source, tmp_path) is None
    write_fashion(cache / "fashion-mnist", zipped=True)
    assert find(source, None) == cache / "fashion-mnist"


@pytest.mark.parametrize("zipped", [False, True])
@pytest.mark.parametrize("below", ["", "fashion-mnist", "FashionMNIST/raw"])
def test_fashion_mnist(zipped: bool, below: str, tmp_path: Path, write_fashion: Write) -> None:
    write_fashion(tmp_path / below, zipped=zipped)
    raw = read_fashion_mnist(FASHION, tmp_path)
    assert raw.test is not None
    assert raw.train.images.shape == (40, 1, 28, 28)
    assert raw.train.images[:, 0, 2, 3].tolist() == list(range(40))
    assert raw.train.images.sum() == sum(range(40))
    assert raw.test.labels.tolist() == [i % 10 for i in range(20)]
    assert raw.classes[9] == "Ankle boot"


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        (
            "train-images-idx3-ubyte",
            lambda data: data[:-5],
            r"expected 31376 bytes \(values \(40, 28, 28\)\), but got 31371",
        ),
        ("train-images-idx3-ubyte", lambda data: b"\0\0\x09" + data[3:], "begins with 00000803, but got 00000903"),
        ("t10k-labels-idx1-ubyte", lambda data: b"", "begins with 00000801, but got "),
        (
            "t10k-labels-idx1-ubyte",
            lambda data: data[:7] + b"\x05" + data[8:13],
            "one label for each of 20 .* but got 5",
        ),
        ("train-labels-idx1-ubyte", lambda data: data[:8] + b"\x0b" + data[9:], "image 0 has label 11"),
    ],
)
def test_damaged_idx_file_is_named(
    name: str, change: Callable[[bytes], bytes], message: str, tmp_path: Path, write_fashion: Write
) -> None:
    path = write_fashion(tmp_path, zipped=False) / name
    path.write_bytes(change(path.read_bytes()))
    with pytest.raises(UserError, match=f"{name}: .*{message}"):
        read_fashion_mnist(FASHION, tmp_path)


@pytest.mark.parametrize(
    "change", [lambda data: data[: len(data) // 2], lambda data: b"no gzip", lambda data: data[:-9] + b"\0" * 9]
)
def test_damaged_gzip_is_named(change: Callable[[bytes], bytes], tmp_path: Path, write_fashion: Write) -> None:
    path = write_fashion(tmp_path, zipped=True) / "train-images-idx3-ubyte.gz"
    path.write_bytes(change(path.read_bytes()))
    with pytest.raises(UserError, match=r"train-images-idx3-ubyte.gz: cannot be read .*data fetch fashion-mnist"):
        read_fashion_mnist(FASHION, tmp_path)


def write_svhn(folder: Path, count: int = 20, *, labels: np.ndarray | None = None, compressed: bool = True) -> Path:
    from scipy.io import savemat

    folder.mkdir(parents=True, exist_ok=True)
    images = np.zeros((32, 32, 3, count), np.uint8)
    images[4, 9, 2] = np.arange(count)  # row 4, column 9, blue
    y = (np.arange(count) % 10 + 1 if labels is None else labels)[:, None].astype(np.uint8)
    for part in ("train", "test"):
        savemat(folder / f"{part}_32x32.mat", {"X": images, "y": y}, do_compression=compressed)
    return folder


@pytest.mark.parametrize("below", ["", "svhn"])
def test_svhn_label_ten_means_zero(below: str, tmp_path: Path) -> None:
    write_svhn(tmp_path / below)
    raw = read_svhn(SVHN, tmp_path)
    assert raw.train.images.shape == (20, 3, 32, 32)
    assert raw.train.images[:, 2, 4, 9].tolist() == list(range(20))
    assert raw.train.images.sum() == sum(range(20))
    assert raw.train.labels.tolist() == [*range(1, 10), 0] * 2
    assert raw.classes == tuple("0123456789")


@pytest.mark.parametrize("label", [0, 11])
def test_svhn_label_out_of_range_is_named(label: int, tmp_path: Path) -> None:
    write_svhn(tmp_path, labels=np.array([1, 2, label]), count=3)
    with pytest.raises(UserError, match=rf"train_32x32.mat: labels must be 1\.\.10, but image 2 has label {label}"):
        read_svhn(SVHN, tmp_path)


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("share", [0.0, 0.01, 0.1, 0.5, 0.9, 0.99])
def test_truncated_mat_file_is_named(compressed: bool, share: float, tmp_path: Path) -> None:
    path = write_svhn(tmp_path, compressed=compressed) / "test_32x32.mat"
    data = path.read_bytes()
    path.write_bytes(data[: int(share * len(data))])
    with pytest.raises(UserError, match=r"test_32x32.mat: .*data fetch svhn"):
        read_svhn(SVHN, tmp_path)


def test_mat_file_with_other_variables_is_named(tmp_path: Path) -> None:
    from scipy.io import savemat

    path = write_svhn(tmp_path) / "train_32x32.mat"
    savemat(path, {"images": np.zeros(3)})
    with pytest.raises(
        UserError, match=r"train_32x32.mat: expected the variables X and y, but found \[\]|\['images'\]"
    ):
        read_svhn(SVHN, tmp_path)
    savemat(path, {"X": np.zeros((32, 32, 3, 2)), "y": np.ones((2, 1))})
    with pytest.raises(UserError, match=r"expected X as uint8 \(32, 32, 3, n\), but got float64 \(32, 32, 3, 2\)"):
        read_svhn(SVHN, tmp_path)


def write_tiny(folder: Path) -> Path:
    """Two classes with three training images and one validation image each, plain in one colour; one is grayscale."""
    target = folder / "tiny-imagenet-200"
    for k, wnid in enumerate(("n01443537", "n02106662")):
        images = target / "train" / wnid / "images"
        images.mkdir(parents=True)
        for i in range(3):
            Image.new("RGB", (64, 64), (40 * k, 0, 80)).save(images / f"{wnid}_{i}.JPEG", quality=100)
        Image.new("L", (64, 64), 99).save(images / f"{wnid}_0.JPEG", quality=100)
    validation = target / "val" / "images"
    validation.mkdir(parents=True)
    for i in range(2):
        Image.new("RGB", (64, 64), (0, 200, 0)).save(validation / f"val_{i}.JPEG", quality=100)
    lines = ["val_0.JPEG\tn02106662\t0\t32\t44\t62", "val_1.JPEG\tn01443537\t1\t2\t3\t4"]
    (target / "val" / "val_annotations.txt").write_text("\n".join(lines) + "\n")
    (target / "words.txt").write_text("n02106662\tGerman shepherd, Alsatian\nn01443537\tgoldfish, Carassius auratus\n")
    return target


def test_tiny_imagenet(tmp_path: Path) -> None:
    write_tiny(tmp_path)
    raw = read_tiny_imagenet(TINY, tmp_path)
    assert raw.test is not None
    assert raw.train.images.shape == (6, 3, 64, 64)
    assert raw.train.labels.tolist() == [0, 0, 0, 1, 1, 1]
    assert raw.test.labels.tolist() == [1, 0]
    assert raw.classes == ("goldfish", "German shepherd")
    assert raw.train.images[0, :, 5, 5].tolist() == [99, 99, 99]
    assert np.abs(raw.train.images[4, :, 5, 5].astype(int) - [40, 0, 80]).max() <= 3


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("val_9.JPEG\tn01443537\t1", r"line 1: the image .*val_9.JPEG does not exist"),
        ("val_0.JPEG\tn999\t1", "line 1: expected a file name and a class of train/, but got 'val_0.JPEG\tn999\t1'"),
        ("nonsense", "line 1: expected a file name and a class"),
        ("", "it is empty"),
    ],
)
def test_tiny_imagenet_annotations_are_checked(line: str, message: str, tmp_path: Path) -> None:
    (write_tiny(tmp_path) / "val" / "val_annotations.txt").write_text(line)
    with pytest.raises(UserError, match=rf"val_annotations.txt: .*{message}"):
        read_tiny_imagenet(TINY, tmp_path)


def test_tiny_imagenet_corrupt_image_is_named(tmp_path: Path) -> None:
    path = write_tiny(tmp_path) / "train" / "n02106662" / "images" / "n02106662_1.JPEG"
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(UserError, match=r"n02106662_1.JPEG: cannot be read as an image"):
        read_tiny_imagenet(TINY, tmp_path)
