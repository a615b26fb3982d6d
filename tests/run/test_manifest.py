"""manifest.json of a run: read whole, an earlier version's too, and refused in one line by every command if damaged."""

import json
from pathlib import Path

import pytest

from erde_nas.distil.training.compute import Compute
from erde_nas.distil.verdict import Verdict
from erde_nas.errors import UserError
from erde_nas.run.folder import discard_empty, existing_run
from erde_nas.run.manifest import Halving, Int8Form, Manifest, Probe, is_run, read_manifest, write_manifest
from tests.run.damage import damaged
from tests.run.test_folder import IDENTITY, PROFILES, RECIPE

FULL = Manifest(
    schema=1,
    recipe="toy",
    profiles=("one", "two"),
    hashes={"recipe.name": "9cff4eeb32be", "profiles": "bda05912462b"},
    identity={"dataset": "542eaed4", "device": "cpu"},
    timings_s={"start": 8.986, "search": 33.61},
    data_dir="/data",
    data={"name": "digits", "mean": [0.3], "images_per_class": {"train": [1, 2]}},
    own_teacher=("right on 97.0%",),
    compute=Compute("fp32", 2, 0.015),
    reference_ms={"one": 0.0589415},
    probe=Probe(0.46, 0.27, 0.045),
    int8=Int8Form(8, False),
    teacher_check=Verdict(0.997, None),
    overhead_s=0.571,
    latency_skipped={"one": ("a", "b")},
    halving=(Halving(0, 6, ("a", "b")), Halving(1, 6, ("a",))),
    storage="postgresql://me@host/base",
    search="an id",
    environment={"python": "3.11", "accelerators": []},
    peak_memory_mb=1027,
)
BARE = Manifest(1, "toy", ("one",), {"profiles": "bda05912462b"}, {"dataset": "542eaed4"}, {})


def folder_of_a_run(tmp_path: Path) -> Path:
    (tmp_path / "recipe.yaml").write_text("name: toy\n")
    (tmp_path / "study.db").write_text("trials")
    return tmp_path


@pytest.mark.parametrize("manifest", [FULL, BARE])
def test_what_is_written_is_read(tmp_path: Path, manifest: Manifest) -> None:
    write_manifest(tmp_path, manifest)
    assert read_manifest(tmp_path) == manifest
    assert is_run(tmp_path)


def test_what_is_not_known_is_left_out(tmp_path: Path) -> None:
    write_manifest(tmp_path, BARE)
    written = json.loads((tmp_path / "manifest.json").read_text())
    assert written.keys() == {"schema", "recipe", "profiles", "hashes", "identity", "timings_s"}
    write_manifest(tmp_path, FULL)
    written = json.loads((tmp_path / "manifest.json").read_text())
    assert written["compute"] == {
        "precision": "fp32", "threads": 2, "seconds_per_step": 0.015, "layout": "channels_last"
    }  # fmt: skip


def test_a_damaged_manifest_is_read_or_refused_in_one_line(tmp_path: Path) -> None:
    folder = folder_of_a_run(tmp_path)
    write_manifest(folder, FULL)
    path, refused, read = folder / "manifest.json", [], 0
    for text in damaged(json.loads(path.read_text())):
        path.write_text(text)
        try:
            existing_run(folder)
            read += 1
        except UserError as error:
            refused.append(str(error))
        try:
            discard_empty(folder, RECIPE, PROFILES, IDENTITY)
        except UserError as error:
            assert str(error) == refused[-1]  # noqa: PT017 (the same as above)
            assert (folder / "study.db").exists(), "of a run that cannot be read nothing is thrown away"
        folder_of_a_run(tmp_path)
    assert read > 50
    assert len(refused) > 300
    for line in refused:
        assert line.startswith((f"{path} is damaged", f"{path} is of schema"))
        assert line.endswith("; restore it, or use another folder") or "use the version that made it" in line
        assert "\n" not in line


@pytest.mark.parametrize(
    ("key", "value", "match"),
    [
        (
            "compute",
            {"precision": "fp32", "threads": 0, "seconds_per_step": 1.0},
            r"compute\.threads: Input should be gr",
        ),
        ("identity", {"device": "cpu"}, r"identity lacks the data set's fingerprint"),
        ("schema", 2, r"manifest\.json is of schema 2, but this version of erde-nas reads schema 1; use the version"),
        ("colour", "blue", r"colour: Unexpected keyword argument"),
        ("halving", [{"rung": 0, "epochs": 6}], r"halving\.0\.students: Field required"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, key: str, value: object, match: str) -> None:
    write_manifest(tmp_path, FULL)
    path = tmp_path / "manifest.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), key: value}))
    with pytest.raises(UserError, match=match):
        read_manifest(tmp_path)


def test_a_comparison_is_no_run(tmp_path: Path) -> None:
    (tmp_path / "recipe.yaml").write_text("name: toy\n")
    (tmp_path / "manifest.json").write_text('{"schema": 1, "comparison": {"seed": "abc"}}')
    assert not is_run(tmp_path)
    with pytest.raises(UserError, match="holds no run"):
        existing_run(tmp_path)
