"""erde-nas search --dry-run: the plan and its times; nothing is trained or written."""

import re


def test_a_plan_is_said_and_nothing_is_written(cli, tiny, calibrated, tmp_path):
    done = cli(
        "search", tiny.recipe, "--profile", tiny.profile, "--out", tmp_path / "run", "--dry-run", "--trials", "7"
    )
    assert done.code == 0, done.err
    assert not (tmp_path / "run").exists()
    assert "plan: 7 candidates x " in done.err
    stages = dict(re.findall(r"\] (search|finish|prune|measure|report): about (\S+)", done.err))
    assert {"search", "finish", "measure"} <= stages.keys()
    total = re.search(r"about (\S+) from here", done.err)
    assert total is not None
    assert "epoch" not in done.err.split("from here")[1]  # it ends where training would begin


def test_what_a_search_would_refuse_is_refused(refused, tiny, tmp_path):
    assert "no shipped recipe 'nothing'" in refused("search", "nothing", "--out", tmp_path / "run", "--dry-run")
    words = ("search", tiny.recipe, "--out", tmp_path / "run", "--dry-run", "--storage", "postgresql://x@y/z")
    assert "--dry-run plans for this machine alone" in refused(*words)
