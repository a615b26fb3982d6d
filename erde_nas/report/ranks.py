"""How well the search's own accuracy ordered the students that were finished, in words."""

from erde_nas.report.points import Report

HOW = {"train": "after the brief training", "supernet": "as slices of the supernet"}
ENOUGH = 20  # students: below that the bootstrap's interval means nothing


def rank_fact(report: Report) -> str:
    """Kendall's tau between the searched and the finished accuracy; empty where it was not computed."""
    found = report.get("rank_correlation")
    if not found:
        return ""
    many = found["n"] >= ENOUGH
    interval = f" (95% interval {found['low']:.2f} to {found['high']:.2f})" if many else ""
    text = (
        f"Kendall's tau {found['tau']:.2f}{interval} between the validation accuracy "
        f"{HOW.get(found['evaluator'], 'during the search')} and the finished one, over {found['n']} students"
    )
    return text if many else f"{text}: so few, all of them chosen for being good, say little"
