"""What official data sets are on the net and on the disk: files, addresses, checksums and terms.

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


def damaged(path: Path, why: str, source: Source) -> UserError:
    """The error for a file of an official data set that cannot be read: names it, says why and what to do."""
    return UserError(f"{path}: {why}. Move its folder away, then {source.next_step}")
