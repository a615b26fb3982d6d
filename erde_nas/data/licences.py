"""Under which terms the data sets are given, as far as their authors say so; a model card repeats it."""

_CIFAR = "no licence stated by its authors; they ask for Krizhevsky 2009 to be cited"

LICENCES = {
    "digits": "CC BY 4.0, as stated by the UCI repository (Optical Recognition of Handwritten Digits)",
    "fashion-mnist": "MIT, copyright Zalando SE",
    "cifar10": _CIFAR,
    "cifar100": _CIFAR,
    "svhn": "non-commercial use only, as its page says; no licence text is given",
    "tiny-imagenet": "ImageNet's terms of access: non-commercial research and education",
    "folder": "your data: whoever passes this student on must say",
    "npz": "your data: whoever passes this student on must say",
}


def licence(dataset: str) -> str:
    """The licence of a data set, or that none is known."""
    return LICENCES.get(dataset, "not stated")
