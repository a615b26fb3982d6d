"""The official data sets: their files, addresses, checksums and terms, as literal tables.

The checksums are the MD5 sums that the authors (CIFAR, Fashion-MNIST) or torchvision and avalanche (SVHN, Tiny
ImageNet) publish. MD5 guards against damage, not against malice, so archives are unpacked with care all the same.
"""

from dataclasses import dataclass
from pathlib import Path

from erde_nas.errors import UserError


@dataclass(frozen=True)
class Remote:
    """One file to download. `size_bytes` is 0 where it is not known."""

    url: str
    md5: str
    size_bytes: int = 0

    @property
    def filename(self) -> str:
        """The last part of the address."""
        return self.url.rsplit("/", 1)[1]


@dataclass(frozen=True)
class Source:
    """An official data set, on the net and on the disk.

    `folders` are where its files may lie below a data directory; a download goes to the first. `needs` are the files
    without which it cannot be read, each of which may carry one of `suffixes`. `system` are folders where an operating
    system's package puts it.
    """

    name: str
    folders: tuple[str, ...]
    needs: tuple[str, ...]
    files: tuple[Remote, ...]
    note: str
    suffixes: tuple[str, ...] = ("",)
    system: tuple[Path, ...] = ()
    package: str = ""

    @property
    def size_bytes(self) -> int:
        """What a download transfers."""
        return sum(remote.size_bytes for remote in self.files)

    @property
    def next_step(self) -> str:
        """What to do when the data set is missing or damaged."""
        package = f", `apt install {self.package}`" if self.package else ""
        return f"run `erde-nas data fetch {self.name}`{package}, or name the folder that holds it with --data-dir DIR"


_TORONTO = "https://www.cs.toronto.edu/~kriz/"
_FASHION = "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/"
_HOUSES = "http://ufldl.stanford.edu/housenumbers/"
_CIFAR_NOTE = "Krizhevsky 2009, Learning Multiple Layers of Features from Tiny Images; no licence stated"

SOURCES: dict[str, Source] = {
    "fashion-mnist": Source(
        name="fashion-mnist",
        folders=("fashion-mnist", "FashionMNIST/raw"),
        needs=(
            "train-images-idx3-ubyte",
            "train-labels-idx1-ubyte",
            "t10k-images-idx3-ubyte",
            "t10k-labels-idx1-ubyte",
        ),
        suffixes=("", ".gz"),
        system=(Path("/usr/share/datasets/fashion-mnist"),),
        package="dataset-fashion-mnist",
        files=(
            Remote(_FASHION + "train-images-idx3-ubyte.gz", "8d4fb7e6c68d591d4c3dfef9ec88bf0d", 26_421_880),
            Remote(_FASHION + "train-labels-idx1-ubyte.gz", "25c81989df183df01b3e8a0aad5dffbe", 29_515),
            Remote(_FASHION + "t10k-images-idx3-ubyte.gz", "bef4ecab320f06d8554ea6380940ec79", 4_422_102),
            Remote(_FASHION + "t10k-labels-idx1-ubyte.gz", "bb300cfdad3c16e7a12a480ee83cd310", 5_148),
        ),
        note="Xiao, Rasul and Vollgraf 2017, arXiv:1708.07747; MIT licence",
    ),
    "cifar10": Source(
        name="cifar10",
        folders=("cifar-10-batches-bin",),
        needs=(*(f"data_batch_{i}.bin" for i in range(1, 6)), "test_batch.bin"),
        files=(Remote(_TORONTO + "cifar-10-binary.tar.gz", "c32a1d4ab5d03f1284b67883e8d87530", 170_052_171),),
        note=_CIFAR_NOTE,
    ),
    "cifar100": Source(
        name="cifar100",
        folders=("cifar-100-binary",),
        needs=("train.bin", "test.bin"),
        files=(Remote(_TORONTO + "cifar-100-binary.tar.gz", "03b5dce01913d631647c71ecec9e9cb8", 168_513_733),),
        note=_CIFAR_NOTE,
    ),
    "svhn": Source(
        name="svhn",
        folders=("svhn",),
        needs=("train_32x32.mat", "test_32x32.mat"),
        files=(
            Remote(_HOUSES + "train_32x32.mat", "e26dedcc434d2e4c54c9b2d4a06d8373", 182_040_794),
            Remote(_HOUSES + "test_32x32.mat", "eb5a983be6a315427106f1b164d9cef3", 64_275_384),
        ),
        note="Netzer et al. 2011, Reading Digits in Natural Images with Unsupervised Feature Learning; non-commercial",
    ),
    "tiny-imagenet": Source(
        name="tiny-imagenet",
        folders=("tiny-imagenet-200",),
        needs=("train", "val/images", "val/val_annotations.txt"),
        files=(
            Remote("http://cs231n.stanford.edu/tiny-imagenet-200.zip", "90528d7ca1a48142e341f4ef8d21d0de", 248_100_043),
        ),
        note="Le and Yang 2015, Tiny ImageNet Visual Recognition Challenge; ImageNet's terms (research only)",
    ),
}


def damaged(path: Path, why: str, source: Source) -> UserError:
    """The error for a file of an official data set that cannot be read: names it, says why and what to do."""
    return UserError(f"{path}: {why}. Move its folder away, then {source.next_step}")
