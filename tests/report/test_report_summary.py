"""The one sentence: a student within a point, none within a point, nothing to compare."""

from typing import Any

from erde_nas.report.summary import summary_sentence
from tests.report.conftest import Draft, model


def _keep(report: Draft, *students: str) -> None:
    report["points"] = [p for p in report["points"] if p["student"] in students]


def test_names_the_fastest_offered_student_within_one_point(report: Draft) -> None:
    """c51e0f9a33 alone is within a point (92.8 %); its int8 file is the fastest: 2.31 / 0.275 = 8.40 ± 1.4 %."""
    sentence = summary_sentence(model(report))
    assert sentence.startswith("Student c51e0f9a33 (quantized) is 8.4 times as fast as the teacher (measured mean")
    assert "0.275 ms instead of 2.31 ms; profile cpu-1thread-int8, the teacher under cpu-1thread)" in sentence
    assert "needs 7.95x fewer MACs" in sentence  # 41e6 / (0.55e6 * 1.75**4)
    assert "91.8% (95% CI 91.4-92.3) against the teacher's 92.8% (95% CI 92.4-93.3)" in sentence
    assert sentence.count(".\n") == 0
    assert sentence.endswith(").")


def test_exactly_one_point_below_counts_and_more_does_not(report: Draft) -> None:
    (best,) = (p for p in report["points"] if p["student"] == "c51e0f9a33" and p["stage"] == "quantized")
    best["test_accuracy"] = report["teacher"]["test_accuracy"] - 0.01
    assert "c51e0f9a33 (quantized)" in summary_sentence(model(report))
    best["test_accuracy"] -= 0.0002
    assert "c51e0f9a33 (finished) is 4.94 times" in summary_sentence(model(report))


def test_a_student_that_is_not_offered_is_never_the_best(report: Draft) -> None:
    for point in report["points"]:
        point["offered"] = point["stage"] != "quantized"
    assert "c51e0f9a33 (finished) is 4.94 times" in summary_sentence(model(report))


def test_says_so_where_none_is_within_one_point(report: Draft) -> None:
    _keep(report, "7780ab12cd", "04bd77e1aa")
    sentence = summary_sentence(model(report))
    assert sentence.startswith("No offered student is within 1 point of the teacher's test accuracy: the closest, ")
    assert "7780ab12cd (finished), is 12.3 times as fast" in sentence
    assert "89.7%" in sentence


def test_says_so_where_the_best_is_slower(report: Draft) -> None:
    report["points"] = [p for p in report["points"] if (p["student"], p["stage"]) == ("c51e0f9a33", "finished")]
    report["points"][0]["latency_ms"]["cpu-1thread"] |= {"mean": 4.62, "p95": 5.0, "interval": [4.6, 4.64]}
    report["points"][0]["macs"] = 82e6
    sentence = summary_sentence(model(report))
    assert "is 0.500 times as fast as the teacher, so it is slower" in sentence
    assert "2.00x more MACs" in sentence


def test_compares_only_what_was_measured_alike(report: Draft) -> None:
    """The teacher's fp32 latency on two threads is no reference for an int8 file on one."""
    _keep(report, "c51e0f9a33")
    report["teacher"]["latency_ms"]["cpu-1thread"]["threads"] = 2
    report["points"] = [p for p in report["points"] if p["stage"] == "quantized"]
    sentence = summary_sentence(model(report))
    assert "has no latency that was measured beside the teacher's and needs 7.95x fewer MACs" in sentence


def test_says_so_where_nothing_can_be_compared(report: Draft) -> None:
    report["points"] = [p for p in report["points"] if p["stage"] == "searched"]
    assert "trained to the end and tested" in summary_sentence(model(report))
    report["teacher"]["test_accuracy"] = None
    assert "The teacher has no test accuracy yet" in summary_sentence(model(report))
    report["teacher"] = None
    assert "The teacher has no test accuracy yet" in summary_sentence(model(report))


def _spoilt(report: Draft) -> dict[str, Any]:
    """The teacher's latency as one preempted process left it: 2.31 ms, though 95 of 100 images take less than 1.4."""
    latency = report["teacher"]["latency_ms"]["cpu-1thread"]
    latency |= {"p50": 1.1, "p95": 1.4, "p99": 17.0, "interval": None}
    return latency


def test_a_mean_beyond_p95_is_no_plain_headline(report: Draft) -> None:
    """2.31 / 1.1: the mean may be off by 110 %; medians 1.1 / (0.7 * 0.275) = 5.7."""
    _spoilt(report)
    sentence = summary_sentence(model(report))
    assert "is roughly 8 times as fast as the teacher" in sentence
    assert "instead of 2 ms" in sentence
    assert sentence.endswith(
        "This speed-up is in doubt (the teacher's latency: its mean is beyond its p95: a few calls decided it); "
        "by their medians it is 5.7 times as fast: measure again on a quiet machine."
    )


def test_a_noisy_latency_is_no_plain_headline(report: Draft) -> None:
    _keep(report, "04bd77e1aa")
    report["points"] = [point for point in report["points"] if point["stage"] == "quantized"]
    sentence = summary_sentence(model(report))
    assert "is roughly " in sentence
    assert "in doubt (the student's latency: noisy" in sentence


def test_noise_makes_no_student_the_best(report: Draft) -> None:
    """The int8 file is 8.4 times as fast, the fp32 file 4.94 times; known to 100 %, the former is worth 4.2."""
    (best,) = (p for p in report["points"] if p["student"] == "c51e0f9a33" and p["stage"] == "quantized")
    latency = best["latency_ms"]["cpu-1thread-int8"]
    latency |= {"interval": [0.5 * latency["mean"], 2 * latency["mean"]], "noisy": True}
    assert "c51e0f9a33 (finished) is 4.94 times" in summary_sentence(model(report))


def test_says_where_images_leave(report: Draft) -> None:
    sentence = summary_sentence(model(report))
    assert "80% of the validation images leave early (55% on block 1, 25% on block 2)" in sentence.replace(".0%", "%")
    for point in report["points"]:
        point |= {"arch": None, "thresholds": [], "exit_fractions": [1.0]}
    assert "It has one exit, at which every image leaves." in summary_sentence(model(report))


def test_no_gain_is_claimed_over_a_teacher_that_failed_its_check(report: Draft) -> None:
    report["teacher_check"] = {"teacher": 0.41, "student": 0.52, "trusted": False}
    sentence = summary_sentence(model(report))
    assert sentence.startswith(
        "Student c51e0f9a33 (quantized) has a test accuracy of 91.8% (95% CI 91.4-92.3) and takes"
    )
    assert "failed its check (right on 41.0% of the validation images, a student that learnt without it on" in sentence
    assert sentence.endswith("so no gain over it is claimed.")
    assert "times as fast" not in sentence
    report["teacher_check"]["trusted"] = True
    assert "times as fast" in summary_sentence(model(report))


def test_says_where_the_teacher_is_worse(report: Draft) -> None:
    report["teacher"]["test_accuracy"] = 0.915  # the best student: 92.0 %, at least 91.55 %
    sentence = summary_sentence(model(report))
    assert "times as fast" in sentence
    assert " c51e0f9a33 is more accurate than the teacher (92.0% (95% CI" in sentence
    report["teacher"]["test_accuracy"] = 0.916
    assert "more accurate than the teacher" not in summary_sentence(model(report))
