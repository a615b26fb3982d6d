"""The comparison of devices, on a report with three students and known latencies."""

import pytest

from erde_nas.report.devices import devices_table
from tests.report.conftest import latency, model, point

A, B = "cpu-1thread", "cpu-1thread-int8"


@pytest.fixture
def two_devices(report):
    """`slim` is the fastest on A, `wide` on B; `poor` beats both but is two points less accurate."""

    def student(name, accuracy, on_a, on_b):
        return point(name, "finished", accuracy, 1e6, {A: latency(on_a, A), B: latency(on_b, B)})

    students = [student("slim", 0.95, 0.1, 0.3), student("wide", 0.955, 0.15, 0.2), student("poor", 0.93, 0.05, 0.05)]
    teacher = {**report["teacher"], "test_accuracy": 0.955}
    return {**report, "points": students, "teacher": teacher}


def test_every_profile_names_its_best_and_what_the_others_cost_there(two_devices):
    table = devices_table(model(two_devices))
    assert [line[0] for line in table.cells] == [A, B]
    assert [line[2] for line in table.cells] == ["slim (finished)", "wide (finished)"]
    assert table.headers[-2:] == ("slim (finished)", "wide (finished)")
    assert [line[-2:] for line in table.cells] == [("1.00x", "1.50x"), ("1.50x", "1.00x")]
    assert table.notes[0].startswith("2 students are best under 2 profiles")


def test_where_none_is_within_a_point_the_most_accurate_is_best(two_devices):
    two_devices["teacher"]["test_accuracy"] = 0.99
    table = devices_table(model(two_devices))
    assert {line[2] for line in table.cells} == {"wide (finished)"}
    assert table.notes[0].startswith("The same student is best under every profile")


def test_one_profile_has_nothing_to_compare_with(two_devices):
    for entry in two_devices["points"]:
        del entry["latency_ms"][B]
    assert devices_table(model(two_devices)).cells == ()
