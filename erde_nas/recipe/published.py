"""What the authors set for the teacher-student pairs of EA-KD's table 2 (arXiv 2311.13621), loss by loss.

Sources, read in November 2026: the configuration files and scripts of EA-KD (cpsu00/EA-KD), CRD (HobbitLong/
RepDistiller), DKD (megvii-research/mdistiller, with its issues 22 and 23 for ReviewKD), MLD (Jin-Ying/
Multi-Level-Logit-Distillation), LS (sunshangquan/logit-standardization-KD), CTKD (zhengli97/CTKD), ReviewKD
(dvlab-research/ReviewKD) and FCFD (LiuDongyang6/FCFD). What no file says for a pair is another pair's, which is named.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

COMMON: Mapping[str, Any] = {
    "epochs": 240,
    "batch_size": 64,
    "momentum": 0.9,
    "weight_decay": 5e-4,
    "milestones": (150, 180, 210),
    "gamma": 0.1,
    "nesterov": False,
}
AUGMENTATION: Mapping[str, Any] = {"crop_padding": 4, "flip": True, "cutout": 0}
EA_TEMPERATURE = 3.0  # T'; 2 for ImageNet and for transformer teachers, which are in another table
WARM_UP = 20 / 240  # of DKD
TWO_VIEWS = 2 * 0.1  # MLD's cross-entropy, of a weak and of a strong view


@dataclass(frozen=True)
class Pair:
    """What differs between pairs. `borrowed` says which of it was taken from which other pair."""

    rate: float  # learning rate
    mld_rate: float
    mld_ls_rate: float
    dkd_beta: float
    reviewkd: float  # its weight
    ls: tuple[float, float]  # base temperature and weight of KD on standardised logits
    fcfd: tuple[float, float]  # temperature, and the weight of the mixed paths' logits
    borrowed: Mapping[str, str] = field(default_factory=dict)


# In the order of the fields above.
PAIRS: Mapping[tuple[str, str], Pair] = {
    ("resnet32x4", "resnet8x4"): Pair(0.05, 0.025, 0.025, 8.0, 5.0, (2.0, 9.0), (4.0, 1.0), {"fcfd": "vgg13 → vgg8"}),
    ("wrn-28-4", "wrn-16-2"): Pair(
        *(0.05, 0.025, 0.025, 6.0, 5.0, (2.0, 9.0), (4.0, 0.2)),
        dict.fromkeys(("dkd", "reviewkd", "ls", "mld", "fcfd"), "wrn-40-2 → wrn-16-2"),
    ),
    ("wrn-40-2", "wrn-40-1"): Pair(
        0.05, 0.025, 0.025, 6.0, 5.0, (2.0, 9.0), (4.0, 0.2), {"fcfd": "wrn-40-2 → wrn-16-2"}
    ),
    ("vgg13", "vgg8"): Pair(0.05, 0.025, 0.025, 6.0, 5.0, (3.0, 9.0), (4.0, 1.0)),
    ("vgg13", "mobilenetv2"): Pair(
        *(0.01, 0.0025, 0.01, 6.0, 5.0, (3.0, 9.0), (4.0, 1.0)),
        dict.fromkeys(("reviewkd", "fcfd"), "vgg13 → vgg8"),
    ),
    ("resnet50", "mobilenetv2"): Pair(
        *(0.01, 0.0025, 0.01, 8.0, 5.0, (3.0, 1.0), (4.0, 1.0)),
        dict.fromkeys(("reviewkd", "fcfd"), "vgg13 → vgg8"),
    ),
    ("resnet32x4", "shufflenetv2"): Pair(0.01, 0.01, 0.01, 8.0, 8.0, (2.0, 9.0), (8.0, 1.0)),
}
TABLE_2: Mapping[str, tuple[float, ...]] = {  # accuracy in % on CIFAR-100, in the order of PAIRS
    "ce": (72.50, 73.26, 71.98, 70.36, 64.60, 64.60, 71.82),
    "kd": (73.33, 75.04, 73.54, 72.98, 67.37, 67.35, 74.45),
    "ea-kd": (75.46, 75.79, 74.38, 74.08, 69.17, 69.67, 75.91),
    "ctkd": (73.91, 75.29, 73.93, 73.52, 68.46, 68.47, 75.31),
    "ea-ctkd": (75.18, 75.72, 74.03, 73.79, 69.19, 69.38, 76.02),
    "dkd": (76.32, 76.45, 74.81, 74.68, 69.71, 70.35, 77.07),
    "ea-dkd": (76.80, 76.74, 74.98, 75.07, 70.39, 70.98, 77.72),
    "mld": (77.08, 76.83, 75.35, 75.18, 70.57, 71.04, 78.44),
    "ea-mld": (77.65, 77.47, 75.77, 75.28, 70.72, 71.43, 78.85),
    "mld+ls": (78.28, 77.20, 75.56, 75.22, 70.94, 71.19, 78.76),
    "ea-mld+ls": (78.38, 77.60, 75.78, 75.38, 70.67, 71.36, 79.13),
    "reviewkd": (75.63, 76.39, 74.45, 74.45, 70.37, 69.89, 77.78),
    "ea-reviewkd": (76.10, 76.95, 75.43, 74.56, 70.55, 69.80, 78.22),
    "fcfd": (76.62, 77.00, 75.46, 75.22, 70.65, 71.00, 78.18),
    "ea-fcfd": (77.50, 77.15, 75.30, 75.36, 71.02, 71.97, 78.75),
}


@dataclass(frozen=True)
class Published:
    """Values of the `distil` section and of the training, and the pair that they were borrowed from, if any."""

    distil: Mapping[str, Any]
    train: Mapping[str, Any]
    borrowed: str


def published(loss: str, teacher: str | None, student: str | None) -> Published:
    """What the authors of `loss` set for a pair. Raises ValueError that names the known pairs, or the known losses."""
    pair = PAIRS.get((str(teacher), str(student)))
    if pair is None:
        known = ", ".join(f"{t} → {s}" for t, s in PAIRS)
        raise ValueError(
            f"preset: published needs teacher.model and student.model of a pair of EA-KD's table 2 ({known}), but got "
            f"{teacher or 'no model'} → {student or 'no model'}"
        )
    name = loss.removeprefix("ea-")
    if name not in SETTINGS or loss == "ea-ce":
        known = ", ".join(SETTINGS)
        raise ValueError(
            f"preset: published knows the losses {known}, and those with ea- before the name, but not '{loss}'; "
            "choose one of these, or write preset: null"
        )
    distil, train = SETTINGS[name](pair)
    if loss.startswith("ea-"):
        distil |= {"ea_temperature": EA_TEMPERATURE}
    if loss == "ea-mld+ls":
        distil |= {"kd_weight": 4.0}  # EA-KD's own, in place of LS's 9
    return Published(
        distil, {**COMMON, "learning_rate": pair.rate, **train}, pair.borrowed.get(name.partition("+")[0], "")
    )


def _mld(rate: float, weight: float) -> tuple[dict[str, Any], dict[str, Any]]:
    return {"ce_weight": TWO_VIEWS, "kd_weight": weight}, {"epochs": 480, "learning_rate": rate}


def _kd(temperature: float | None, weight: float = 0.9) -> tuple[dict[str, Any], dict[str, Any]]:
    softened = {} if temperature is None else {"temperature": temperature}
    return {**softened, "ce_weight": 0.1, "kd_weight": weight}, {}


SETTINGS: Mapping[str, Any] = {
    "ce": lambda pair: ({}, {}),
    "kd": lambda pair: _kd(4.0),
    "ls": lambda pair: _kd(*pair.ls),
    "ctkd": lambda pair: _kd(None),
    "dkd": lambda pair: (
        {"temperature": 4.0, "ce_weight": 1.0, "kd_weight": 1.0, "kd_warmup": WARM_UP}
        | {"dkd_alpha": 1.0, "dkd_beta": pair.dkd_beta},
        {},
    ),
    "mld": lambda pair: _mld(pair.mld_rate, 0.9),
    "mld+ls": lambda pair: _mld(pair.mld_ls_rate, 9.0),
    "reviewkd": lambda pair: ({"ce_weight": 1.0, "kd_weight": pair.reviewkd}, {}),
    "fcfd": lambda pair: (
        {"temperature": pair.fcfd[0], "ce_weight": 1.0, "kd_weight": 1.0}
        | {"feature_weight": 5.0, "path_weight": pair.fcfd[1]},
        {"nesterov": True},
    ),
}
