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


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("cost", [PROFILE, MACS])
def test_the_factor_is_the_least_over_all_pairs(seed: int, cost: str) -> None:
    rows = [
        (p["student"], p["val_accuracy"], p["latency_ms"][PROFILE]["mean"] * (1e6 if cost == MACS else 1))
        for p in drawn(seed)["points"]
    ]
    front = [a for _, a, c in rows if not any(b >= a and d <= c and (b, d) != (a, c) for _, b, d in rows)]
    floor = max(front) - (max(front) - min(front)) / 3
    for kind, name in (("exits of one network", "exits"), ("cascade of two", "cascade")):
        upper = [row for row in rows if row[0].startswith(name) and row[1] >= floor - 1e-9]
        expected = {}
        for own, accuracy, value in upper:
            beside = [c for n, a, c in rows if n.startswith("static") and a >= accuracy - EQUAL - 1e-9]
            if beside:
                expected[own] = value / min(beside)
        found = [one for one in exit_factors(model(drawn(seed)), cost) if one.kind == kind]
        assert len(found) == bool(upper)
        for one in found:
            if expected:
                assert one.factor == pytest.approx(min(expected.values()))
                assert expected[one.point.name] == pytest.approx(one.factor)
            else:
                assert (one.factor, one.without) == (None, None)
                assert one.point.cost == min(value for _, _, value in upper)


def test_a_static_student_that_was_ruled_out_by_its_brief_measurement_is_compared_as_well() -> None:
    """Exits may have ruled it out: without it they would be compared with something dearer."""
    alone = {"thresholds": (), "exit_fractions": (1.0,), "arch": None}
    points = [
        point("exits", "finished", 0.86, 4e5, {PROFILE: latency(0.4, PROFILE)}),
        point("dear", "finished", 0.859, 9e5, {PROFILE: latency(0.9, PROFILE)}, **alone),
    ]
    draft = {**BARE, "points": points}
    assert exit_factors(model(draft), PROFILE)[0].factor == pytest.approx(0.4 / 0.9)
    draft["screened"] = [
        {
            "student": "ruled-out", "stage": "pruned", "precision": "fp32", "thresholds": (), "exit_fractions": (1.0,),
            "val_accuracy": 0.859, "macs": 5e5, "estimated_ms": {PROFILE: 0.5}, "reason": "exits is cheaper",
        }
    ]  # fmt: skip
    (found,) = exit_factors(model(draft), PROFILE)
    assert found.factor == pytest.approx(0.4 / 0.5)
    assert "ruled-out (85.9%, ~" in exit_factor_table(model(draft)).cells[0][3]
    assert exit_factors(model(draft), MACS)[0].factor == pytest.approx(0.4 / 0.5)


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


def test_where_no_static_student_is_as_accurate_that_is_said() -> None:
    draft = drawn(2)
    draft["points"] = [entry for entry in draft["points"] if not entry["student"].startswith("static")]
    assert {line[3:] for line in exit_factor_table(model(draft)).cells} == {("none is as accurate", "-")}
    draft["points"] = []
    assert "Do exits pay?" not in markdown(model(draft))
