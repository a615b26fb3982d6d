import gzip
import hashlib
import io
import tarfile
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from erde_nas.data.cifar import read_cifar10
from erde_nas.data.fetch import fetch, list_datasets
from erde_nas.data.kind import official
from erde_nas.data.official import Remote, Source
from erde_nas.errors import UserError
from erde_nas.recipe.images import DatasetSection
from erde_nas.registry import DATASETS

SOURCES = official()


def tar_of(members: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


def zip_of(members: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        for name, content in members.items():
            file.writestr(name, content)
    return buffer.getvalue()


def serve(server: Any, name: str, files: dict[str, bytes]) -> dict[str, Source]:
    """The data set's source with `files` on the local server in place of the official ones."""
    server.files |= files
    remotes = tuple(Remote(server.url(file), hashlib.md5(data).hexdigest(), len(data)) for file, data in files.items())
    return {name: replace(SOURCES[name], files=remotes, system=())}


CIFAR = {f"cifar-10-batches-bin/{name}": bytes([1]) + bytes(3072) for name in SOURCES["cifar10"].needs}
TINY = {
    "tiny-imagenet-200/train/n1/images/a.JPEG": b"a",
    "tiny-imagenet-200/val/images/b.JPEG": b"b",
    "tiny-imagenet-200/val/val_annotations.txt": b"b.JPEG\tn1\n",
}


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_archive_into_the_cache(server: Any, cache: Path) -> None:
    sources = serve(server, "cifar10", {"cifar-10-binary.tar.gz": tar_of(CIFAR)})
    path = fetch("cifar10", sources=sources)
    assert path == cache / "cifar-10-batches-bin"
    assert names(cache) == ["cifar-10-batches-bin"]
    assert read_cifar10(DatasetSection(name="cifar10"), None).train.labels.tolist() == [1] * 5


def test_second_call_asks_for_nothing(server: Any, tmp_path: Path) -> None:
    sources = serve(server, "cifar10", {"cifar-10-binary.tar.gz": tar_of(CIFAR)})
    first = fetch("cifar10", tmp_path, sources=sources)
    server.requests.clear()
    assert fetch("cifar10", tmp_path, sources=sources) == first
    assert server.requests == []


def test_zip_archive(server: Any, tmp_path: Path) -> None:
    sources = serve(server, "tiny-imagenet", {"tiny-imagenet-200.zip": zip_of(TINY)})
    path = fetch("tiny-imagenet", tmp_path, sources=sources)
    assert (path / "val" / "images" / "b.JPEG").read_bytes() == b"b"
    assert not path.with_name("tiny-imagenet-200.part").exists()


def test_plain_files_appear_together(server: Any, tmp_path: Path) -> None:
    files = {name + ".gz": gzip.compress(name.encode()) for name in SOURCES["fashion-mnist"].needs}
    sources = serve(server, "fashion-mnist", files)
    last = server.files.pop("t10k-labels-idx1-ubyte.gz")
    with pytest.raises(UserError, match=r"t10k-labels-idx1-ubyte.gz: the server answered 404"):
        fetch("fashion-mnist", tmp_path, sources=sources)
    assert not (tmp_path / "fashion-mnist").exists()
    server.files["t10k-labels-idx1-ubyte.gz"] = last
    server.requests.clear()
    path = fetch("fashion-mnist", tmp_path, sources=sources)
    assert server.requests == [("t10k-labels-idx1-ubyte.gz", None)]  # the others were kept
    assert names(path) == sorted(files)


def test_interrupted_fetch_goes_on(server: Any, tmp_path: Path) -> None:
    archive = tar_of(CIFAR)
    sources = serve(server, "cifar10", {"cifar-10-binary.tar.gz": archive})
    server.cut = len(archive) // 2
    with pytest.raises(UserError, match="connection closed after"):
        fetch("cifar10", tmp_path, sources=sources)
    stale = tmp_path / "cifar-10-batches-bin.part" / "unpacked" / "cifar-10-batches-bin"
    stale.mkdir(parents=True)
    (stale / "stale.bin").write_bytes(b"left by an interrupted call")
    server.cut = None
    path = fetch("cifar10", tmp_path, sources=sources)
    assert server.requests[-1] == ("cifar-10-binary.tar.gz", f"bytes={len(archive) // 2}-")
    assert names(path) == sorted(SOURCES["cifar10"].needs)


def test_wrong_checksum_is_never_unpacked(server: Any, tmp_path: Path) -> None:
    sources = serve(server, "cifar10", {"cifar-10-binary.tar.gz": tar_of(CIFAR)})
    server.files["cifar-10-binary.tar.gz"] = tar_of({**CIFAR, "cifar-10-batches-bin/extra": b"x"})
    remote = replace(sources["cifar10"].files[0], size_bytes=0)
    with pytest.raises(UserError, match=f"expected the MD5 checksum {remote.md5}"):
        fetch("cifar10", tmp_path, sources={"cifar10": replace(sources["cifar10"], files=(remote,))})
    assert names(tmp_path) == []


@pytest.mark.parametrize(
    ("name", "archive", "pack", "members"),
    [
        ("cifar10", "cifar-10-binary.tar.gz", tar_of, CIFAR),
        ("tiny-imagenet", "tiny-imagenet-200.zip", zip_of, TINY),
    ],
)
@pytest.mark.parametrize("evil", ["../evil", "../../../evil", "/{tmp}/evil"])
def test_member_outside_the_folder_is_refused(
    name: str,
    archive: str,
    pack: Callable[[dict[str, bytes]], bytes],
    members: dict[str, bytes],
    evil: str,
    server: Any,
    tmp_path: Path,
) -> None:
    data_dir = tmp_path / "a" / "b"
    evil = evil.format(tmp=str(tmp_path).lstrip("/"))
    sources = serve(server, name, {archive: pack({**members, evil: b"evil"})})
    if evil.startswith("/") and name == "cifar10":  # PEP 706: the leading slash is dropped, so it lands inside
        fetch(name, data_dir, sources=sources)
    else:
        with pytest.raises(UserError, match=rf"{archive}: refused to unpack, .*evil"):
            fetch(name, data_dir, sources=sources)
        assert names(data_dir) == [f"{SOURCES[name].folders[0]}.part"]
    assert not [path for path in tmp_path.rglob("evil") if "unpacked" not in path.parts]


def test_tar_link_to_the_outside_is_refused(server: Any, tmp_path: Path) -> None:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        link = tarfile.TarInfo("cifar-10-batches-bin/link")
        link.type, link.linkname = tarfile.SYMTYPE, "../../../outside"
        tar.addfile(link)
    sources = serve(server, "cifar10", {"cifar-10-binary.tar.gz": buffer.getvalue()})
    with pytest.raises(UserError, match="refused to unpack, 'cifar-10-batches-bin/link' would link to"):
        fetch("cifar10", tmp_path, sources=sources)


@pytest.mark.parametrize("data", [b"no archive", tar_of(CIFAR)[:150]])
def test_damaged_archive_with_the_right_checksum(data: bytes, server: Any, tmp_path: Path) -> None:
    sources = serve(server, "cifar10", {"cifar-10-binary.tar.gz": data})
    with pytest.raises(UserError, match=r"cifar-10-binary.tar.gz: damaged archive"):
        fetch("cifar10", tmp_path, sources=sources)


def test_archive_with_another_folder(server: Any, tmp_path: Path) -> None:
    sources = serve(server, "cifar10", {"cifar-10-binary.tar.gz": tar_of({"other/x": b"x"})})
    with pytest.raises(UserError, match=r"damaged archive, cifar-10-batches-bin/data_batch_1.bin is not in it"):
        fetch("cifar10", tmp_path, sources=sources)


def test_an_incomplete_folder_is_left_alone(server: Any, tmp_path: Path) -> None:
    sources = serve(server, "cifar10", {"cifar-10-binary.tar.gz": tar_of(CIFAR)})
    mine = tmp_path / "cifar-10-batches-bin" / "test_batch.bin"
    mine.parent.mkdir()
    mine.write_bytes(b"mine")
    with pytest.raises(
        UserError, match=r"cifar-10-batches-bin is there, but not all of data_batch_1.bin.*move it away"
    ):
        fetch("cifar10", tmp_path, sources=sources)
    assert mine.read_bytes() == b"mine"
    assert server.requests == []


def test_unwritable_folder_is_named(server: Any, tmp_path: Path) -> None:
    sources = serve(server, "cifar10", {"cifar-10-binary.tar.gz": tar_of(CIFAR)})
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(UserError, match=f"{tmp_path}/file/cifar-10-batches-bin: cannot be written"):
        fetch("cifar10", tmp_path / "file", sources=sources)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("digits", "comes with scikit-learn, there is nothing to fetch"),
        ("folder", "your own images.*dataset.path"),
        ("npz", "your own arrays.*dataset.path"),
        ("mnist", "unknown data set 'mnist'; choose from fashion-mnist, cifar10, cifar100, svhn, tiny-imagenet"),
    ],
)
def test_nothing_to_fetch(name: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        fetch(name)


def test_listing_names_every_data_set_once(tmp_path: Path, write_cifar: Callable[..., Path]) -> None:
    folder = write_cifar(tmp_path, "cifar10", per_file=1)
    listings = {listing.name: listing for listing in list_datasets(tmp_path)}
    assert list(listings) == list(DATASETS)
    assert listings["cifar10"].found == str(folder)
    assert listings["cifar100"].found is None
    assert listings["svhn"].size_bytes == 246_316_178
    assert listings["svhn"].origin == "http://ufldl.stanford.edu/housenumbers"
    assert listings["digits"].found == "scikit-learn"


def test_every_official_address_is_complete() -> None:
    for source in SOURCES.values():
        for remote in source.files:
            assert remote.url.startswith(("https://", "http://"))
            assert len(bytes.fromhex(remote.md5)) == 16
            assert remote.size_bytes > 0


def bomb(kind: str) -> bytes:
    """An archive of less than a megabyte that unpacks to 400 MB."""
    if kind == "zip":
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as file:
            for number in range(4):
                file.writestr(f"tiny-imagenet-200/{number}", bytes(100_000_000))
        return buffer.getvalue()
    return tar_of({f"cifar-10-batches-bin/{number}": bytes(100_000_000) for number in range(4)})


@pytest.mark.parametrize(
    ("name", "archive", "kind"),
    [("tiny-imagenet", "tiny-imagenet-200.zip", "zip"), ("cifar10", "cifar-10-binary.tar.gz", "tar")],
)
def test_a_right_checksum_unpacks_no_bomb(server: Any, tmp_path: Path, name: str, archive: str, kind: str) -> None:
    sources = serve(server, name, {archive: bomb(kind)})
    with pytest.raises(UserError, match=r"refused to unpack, from '\S+/1' on it would take more than 100000000 bytes"):
        fetch(name, tmp_path, sources=sources)
    written = sum(path.stat().st_size for path in tmp_path.rglob("*") if path.is_file())
    assert written < 102_000_000


def test_a_gzipped_file_is_read_no_further_than_it_may_be_long(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from erde_nas.data import fashion_mnist

    monkeypatch.setattr(fashion_mnist, "MOST_BYTES", 1_000_000)
    for file in SOURCES["fashion-mnist"].needs:
        (tmp_path / f"{file}.gz").write_bytes(gzip.compress(bytes(3_000_000)))
    with pytest.raises(UserError, match=r"train-images-idx3-ubyte.gz: it holds more than 1000000 bytes"):
        fashion_mnist.read_fashion_mnist(DatasetSection(name="fashion-mnist"), tmp_path)
