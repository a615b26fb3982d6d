"""How well latency was predicted during the search, in words. No latency of a report is a prediction."""

from erde_nas.report.ranks import ENOUGH
from erde_nas.report.units import percent
from erde_nas.report_data.report import LatencyModelFacts, Report


def latency_model_facts(report: Report) -> list[str]:
    """A sentence for each profile with a model; empty where there is none."""
    return [_sentence(name, found) for name, found in report.latency_model.items()]


def _sentence(profile: str, found: LatencyModelFacts) -> str:
    order = ""
    if found.tau is not None:
        interval = f" (95% interval {found.tau_low:.2f} to {found.tau_high:.2f})"
        order = f", with Kendall's tau {found.tau:.2f}{interval if found.n >= ENOUGH else ''}"
    return (
        f"{profile}: {_excluded(found.skipped)}; predictions, of which no latency in this report is one, were off "
        f"by {percent(found.median_error, 1)}% in the median and by at most {percent(found.p95_error, 1)}% at 19 "
        f"of 20 first exits{order}, cross-validated over the {found.n} candidates that were measured"
    )


def _excluded(number: int) -> str:
    if not number:
        return "no candidate was excluded because of its predicted latency"
    count = "1 candidate was" if number == 1 else f"{number} candidates were"
    return f"{count} neither measured nor trained, because the first exit was predicted to be beyond the limit"
