"""Whether exits pay, against all pairs of points tried one by one."""

import random

import pytest

from erde_nas.report.exit_factor import EQUAL, exit_factor_table, exit_factors
from erde_nas.report.markdown import markdown
from erde_nas.report.page import page
from erde_nas.report.points import MACS
from erde_nas.report.series import series
from tests.report.conftest import BARE, latency, model, point

PROFILE = "cpu-1thread"


def drawn(seed: int) -> dict:
    """Points of all three kinds at random places."""
    rng = random.Random(seed)
    points = []
    for number in range(24):
        kind = ("static", "exits", "cascade")[number % 3]
        accuracy, mean = round(rng.uniform(0.7, 0.9), 3), rng.uniform(0.1, 1)
        changes = {"static": {"thresholds": (), "exit_fractions": (1.0,), "arch": None, "exit_accuracy": None}}.get(
            kind, {}
        )
        if kind == "cascade":
            changes = {"cascade": ("a", "b"), "arch": None}
        points.append(
            point(f"{kind}{number}", "finished", accuracy, 1e6 * mean, {PROFILE: latency(mean, PROFILE)}, **changes)
        )
    return {**BARE, "points": points}


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("cost", [PROFILE, MACS])
def test_the_factor_is_the_least_over_all_pairs(seed: int, cost: str) -> None:
    rows = [
        (p["student"], p["val_accuracy"], p["latency_ms"][PROFILE]["mean"] * (1e6 if cost == MACS else 1))
        for p in drawn(seed)["points"]
    ]
    front = [a for _, a, c in rows if not any(b >= a and d <= c and (b, d) != (a, c) for _, b, d in rows)]
    floor = max(front) - (max(front) - min(front)) / 3
    for kind, name in (("exits of one network", "exits"), ("cascade of two", "cascade")):
        expected = {}
        for own, accuracy, value in rows:
            beside = [c for n, a, c in rows if n.startswith("static") and a >= accuracy - EQUAL - 1e-9]
            if own.startswith(name) and beside and accuracy >= floor - 1e-9:
                expected[own] = value / min(beside)
        found = [one for one in exit_factors(model(drawn(seed)), cost) if one.kind == kind]
        assert len(found) == bool(expected)
        for one in found:
            assert one.factor == pytest.approx(min(expected.values()))
            assert expected[one.row.point.student] == pytest.approx(one.factor)


def test_an_exit_where_hardly_anybody_leaves_is_none() -> None:
    draft = drawn(0)
    for entry in draft["points"]:
        if not entry["student"].startswith("static"):
            entry["exit_fractions"] = [0.005, 0.0, 0.995]
    assert exit_factors(model(draft), PROFILE) == []


def test_the_report_shows_both_kinds_and_draws_cascades_by_themselves() -> None:
    report = model(drawn(2))
    table = exit_factor_table(report)
    assert {line[1] for line in table.cells} == {"exits of one network", "cascade of two"}
    assert {line[0] for line in table.cells} == {PROFILE, "MACs"}
    for text in (page(report), markdown(report)):
        assert "Do exits pay?" in text
    looks = {group.look: {row.point.student for row in group.rows} for group in series(report, MACS)}
    assert looks["cascade"] == {p["student"] for p in drawn(2)["points"] if p["cascade"]}


def test_without_a_static_student_nothing_is_said() -> None:
    draft = drawn(2)
    draft["points"] = [entry for entry in draft["points"] if not entry["student"].startswith("static")]
    assert exit_factor_table(model(draft)).cells == ()
    assert "Do exits pay?" not in markdown(model(draft))
