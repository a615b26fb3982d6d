"""How well the search's own accuracy ordered the students that were finished, in words."""

from erde_nas.report.points import Report

HOW = {"train": "after the brief training", "supernet": "as slices of the supernet"}
ENOUGH = 20  # students: below that an interval is too wide to compare two ways of evaluation


def rank_fact(report: Report) -> str:
    """Kendall's tau between the searched and the finished accuracy; empty where it was not computed."""
    found = report.get("rank_correlation")
    if not found:
        return ""
    text = (
        f"Kendall's tau {found['tau']:.2f} (95% interval {found['low']:.2f} to {found['high']:.2f}) between the "
        f"validation accuracy {HOW.get(found['evaluator'], 'during the search')} and the finished one, over "
        f"{found['n']} students"
    )
    return text if found["n"] >= ENOUGH else f"{text}: so few, all of them chosen for being good, say little"
