"""erde-nas compare: runs side by side."""

import shutil

from PIL import Image


def test_a_run_and_its_copy_with_another_recipe(cli, run, shortlisted, tmp_path):
    other = tmp_path / "other"
    shutil.copytree(run, other)
    recipe = other / "recipe.yaml"
    text = recipe.read_text()
    assert "kd_weight: " in text
    lines = ["  kd_weight: 0.125" if line.startswith("  kd_weight: ") else line for line in text.splitlines()]
    recipe.write_text("\n".join(lines))
    done = cli("compare", run, other, "--picture", tmp_path / "fronts.png")
    assert (done.code, done.err) == (0, "")
    assert shortlisted in done.out
    assert "distil.kd_weight" in done.out
    assert "0.125" in done.out
    assert "search.trials" not in done.out
    with Image.open(tmp_path / "fronts.png") as image:
        assert image.width >= 700


def test_what_cannot_be_compared_is_refused(refused, run, tmp_path):
    assert "needs two runs or more, but got 1" in refused("compare", run)
    assert "is given twice" in refused("compare", run, run)
    assert "holds no run" in refused("compare", run, tmp_path)
    (tmp_path / "file").write_text("")
    other = tmp_path / "other"
    shutil.copytree(run, other)
    assert "cannot be written" in refused("compare", run, other, "--picture", tmp_path / "file" / "a.png")
