"""`erde-nas exits MODEL.pt2 --list`."""

from pathlib import Path

import torch

from tests.networks.foreign import Residual, exported, images, trained


def test_it_lists_every_cut_by_stage_and_draws_them(cli, tmp_path):
    torch.export.save(exported(trained(Residual()), images(3)), tmp_path / "mine.pt2")
    done = cli("exits", tmp_path / "mine.pt2", "--list")
    assert (done.code, done.err) == (0, "")
    drawing, table = done.out.split("\n\n")[1:]
    assert [line.split()[0] for line in drawing.splitlines()] == ["input", "16×16", "8×8", "1×1", "vector", "5"]
    assert [line.split()[-1] for line in drawing.splitlines()[1:5]] == ["0–6", "7–10", "11", "12–13"]
    rows = table.splitlines()[2:]
    assert len(rows) == 14 + 1, "every cut, and the network itself"
    assert [row.split()[0] for row in rows if not row.startswith(" ")] == ["16×16", "8×8", "1×1", "vector", "the"]


def test_the_guide_shows_what_it_prints(cli, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.export.save(exported(trained(Residual()), images(3)), "model.pt2")
    printed = cli("exits", "model.pt2", "--list").out.splitlines()
    guide = (Path(__file__).parents[2] / "docs" / "own-network.md").read_text()
    shown = guide[guide.index("    model.pt2 takes") : guide.index("    ...\n")].splitlines()
    assert len(shown) > 10
    assert [line.removeprefix("    ").rstrip() for line in shown] == [line.rstrip() for line in printed[: len(shown)]]


def test_what_cannot_be_used_is_said_in_one_line(refused, tmp_path):
    assert refused("exits", tmp_path / "none.pt2", "--list").startswith(f"{tmp_path / 'none.pt2'} does not exist")
    (tmp_path / "weights.pt2").write_bytes(b"")
    assert "it is empty" in refused("exits", tmp_path / "weights.pt2", "--list")
