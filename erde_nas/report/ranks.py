"""How well the search's own accuracy ordered candidates, in words: those that were finished, and those of a check."""

from erde_nas.report_data.report import Report

HOW = {"train": "after the brief training", "supernet": "as slices of the supernet"}
NAMES = {"one_shot": "slices of the supernet", "brief": "brief training", "full": "full training"}
ENOUGH = 20  # students: below that the bootstrap's interval means nothing


def rank_fact(report: Report) -> str:
    """Kendall's tau between the searched and the finished accuracy; empty where it was not computed."""
    found = report.rank_correlation
    if found is None:
        return ""
    many = found.n >= ENOUGH
    interval = f" (95% interval {found.low:.2f} to {found.high:.2f})" if many else ""
    text = (
        f"Kendall's tau {found.tau:.2f}{interval} between the validation accuracy "
        f"{HOW.get(found.evaluator, 'during the search')} and the finished one, over {found.n} students"
    )
    return text if many else f"{text}: so few, all of them chosen for being good, say little"


def rank_check_fact(report: Report) -> str:
    """Kendall's tau between the evaluations of a rank check; empty where there was none."""
    found = report.rank_check
    if found is None:
        return ""
    taus = [
        f"{NAMES[pair.first]} and {NAMES[pair.second]} {pair.tau:.2f} (95% interval {pair.low:.2f} to "
        f"{pair.high:.2f}, n = {pair.n})"
        for pair in found.correlations
    ]
    count = len(found.candidates)
    text = f"Kendall's tau of validation accuracies, {count} candidates from the whole range that was searched: "
    return text + ("; ".join(taus) or "too few came through their training")
