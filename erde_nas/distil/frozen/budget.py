"""How many images, views and epochs the exits of a frozen network learn from, in a time and a memory that are given."""

from dataclasses import dataclass

FEATURES = 0.5  # of the time, at most, for computing features
LEAST_EPOCHS, MOST_EPOCHS = 4, 24
MEMORY = 0.25  # of what is free, for the features
MOST_BYTES = 1_500_000_000


@dataclass(frozen=True)
class HeadPlan:
    """So many training images in so many views each, which `epochs` epochs go through in turn."""

    images: int
    views: int
    epochs: int
    feature_s: float  # estimated, of all
    head_s: float


def plan_heads(
    images: int, most_views: int, *, feature_s: float, head_s: float, sample_bytes: int, free_bytes: int, seconds: float
) -> HeadPlan:
    """`feature_s` and `head_s` are the seconds that features and a training step of all heads take per image."""
    memory = min(MOST_BYTES, int(MEMORY * free_bytes)) // max(1, sample_bytes)
    samples = max(1, min(images * most_views, memory, int(FEATURES * seconds / feature_s)))
    chosen = min(images, samples)
    views = max(1, min(most_views, samples // chosen))
    left = seconds - chosen * views * feature_s
    epochs = max(LEAST_EPOCHS, views, min(MOST_EPOCHS, int(left / (chosen * head_s))))
    return HeadPlan(chosen, views, epochs, chosen * views * feature_s, chosen * epochs * head_s)
