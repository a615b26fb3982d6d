"""What a deployable file says of itself, and which files are none."""

import onnx
import pytest

from erde_nas.errors import UserError
from erde_nas.onnx_files.metadata import Metadata, read_metadata
from erde_nas.onnx_files.nest import nest
from erde_nas.onnx_files.segments import export_segments
from tests.networks.builders import build, small_arch, write_onnx


def test_a_file_says_what_it_is(tmp_path):
    model = write_onnx(build(small_arch("resnet", ("erde", "gap"))), [0.5], tmp_path / "model.onnx")
    assert read_metadata(model) == Metadata(tuple("abcdefghij"), (1, 8, 8), (0.5,), (0.25, 0.75), "fp32")


def other_file(kind, folder):
    path = folder / "other.onnx"
    if kind == "text":
        path.write_text("hello " * 50)
    if kind == "pointer":
        path.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 12\n")
    if kind == "empty":
        path.write_bytes(b"")
    segment = export_segments(build(small_arch("resnet", ("gap",))))[0]
    if kind == "segment":
        onnx.save(segment, path)
    if kind == "cut":
        path.write_bytes(nest([segment], []).SerializeToString()[:-700])
    if kind == "no metadata":
        onnx.save(nest([segment], []), path)
    return path


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("missing", r"other\.onnx does not exist"),
        ("text", r"other\.onnx is not a student that erde-nas exported"),
        ("empty", r"other\.onnx is not a student that erde-nas exported: it is empty"),
        ("pointer", r"other\.onnx is not a student that erde-nas exported: it is a pointer of Git LFS"),
        ("segment", r"other\.onnx is not a student that erde-nas exported: it has no exit decisions"),
        ("cut", r"other\.onnx is not a student that erde-nas exported"),
        ("no metadata", r"other\.onnx lacks classes, exit_fractions, precision in its metadata"),
    ],
)
def test_other_files_are_refused(kind, reason, tmp_path):
    with pytest.raises(UserError, match=reason):
        read_metadata(other_file(kind, tmp_path))


@pytest.mark.parametrize(
    ("files", "said"),
    [
        (["ship/student.json", "ship/model.onnx"], "the folder of an exported student; give its file: {}/model.onnx"),
        (
            ["ship/manifest.json", "ship/students/a/model.int8.onnx", "ship/students/a/model.onnx"],
            "a run with 2 model files; give one of them: {}/students/a/model.onnx",
        ),
        (["ship/manifest.json"], "a run without a model file in it"),
        (["ship/model.onnx"], "a folder with 1 model file; give one of them: {}/model.onnx"),
        (["ship/photo.png"], "a folder without a model file in it"),
    ],
)
def test_a_folder_is_called_what_it_is(files, said, tmp_path):
    for name in files:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("{}")
    ship = tmp_path / "ship"
    with pytest.raises(UserError) as caught:
        read_metadata(ship)
    assert f"{ship} is {said.format(ship)}" in str(caught.value)
