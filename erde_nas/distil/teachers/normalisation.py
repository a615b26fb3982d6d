"""What a user's own teacher was trained with: mean and standard deviation per channel, of pixels scaled to [0, 1]."""

from erde_nas.data.dataset import Dataset
from erde_nas.errors import UserError
from erde_nas.recipe.normalisation import USUAL, Normalisation
from erde_nas.recipe.teacher import TeacherSection


def normalisation_of(section: TeacherSection, dataset: Dataset) -> Normalisation | None:
    """The one that the recipe gives; None: the data set's. Raises UserError for another number of channels."""
    channels = dataset.train.images.shape[1]
    if section.normalisation is not None:
        found = spread(section.normalisation, channels)
        if found is None:
            own = len(USUAL[section.normalisation][0])
            raise UserError(
                f"teacher.normalisation: {section.normalisation} is for {own} channels, "
                f"but {dataset.name}'s images have {channels}; give teacher.mean and teacher.std"
            )
        return found
    if section.mean is None or section.std is None:
        return None
    if len(section.mean) not in (1, channels):
        raise UserError(
            f"teacher.mean and teacher.std must hold {channels} numbers, one per channel of {dataset.name}'s images, "
            f"but hold {len(section.mean)}"
        )
    many = channels // len(section.mean)
    return section.mean * many, section.std * many


def spread(name: str, channels: int) -> Normalisation | None:
    """A usual normalisation for so many channels; None where it has another number of them."""
    mean, std = USUAL[name]
    if len(mean) == 1 and name != "mnist":
        return mean * channels, std * channels
    return (mean, std) if len(mean) == channels else None
