"""What may vary: named choices <-> architectures.

Exits are parameters of (stage, position in the stage), so that a child of two parents keeps their exits near the same
relative depth whatever its own depths are. A parameter that does not apply (the third block of a stage with two) is
ignored, so several proposals can mean one architecture: `identify` tells.
"""

from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache

from erde_nas.data.dataset import Dataset, image_shape, square_shape
from erde_nas.networks.arch import Arch, Exit
from erde_nas.networks.families import StageChoice, family_of, make_arch
from erde_nas.networks.macs import exit_macs
from erde_nas.recipe.recipe import Recipe
from erde_nas.recipe.space import SpaceSection
from erde_nas.space.trial import Choice
from erde_nas.space.variation import END, NO_EXIT, ArchitectureVariation, blocks

REMEMBERED = 4096  # architectures: searchers ask for the same ones several times


class Space:
    """The search space of a recipe for images of shape (channels, size, size)."""

    def __init__(self, section: SpaceSection, image_shape: tuple[int, int, int], classes: int) -> None:
        self.image_shape, self.classes, self.max_exits = image_shape, classes, section.max_exits
        families = [family_of(name) for name in section.families]
        parameters: dict[str, tuple[Choice, ...]] = {"family": section.families, "stem": section.stems}
        if section.stem_strides != (1,):
            parameters["stem_stride"] = section.stem_strides
        for stage, (depths, widths) in enumerate(zip(section.depths, section.widths, strict=True)):
            parameters[f"depth{stage}"] = depths
            parameters[f"width{stage}"] = widths
            if section.strides is not None:
                parameters[f"stride{stage}"] = section.strides[stage]
            if any(family.kernels for family in families):
                parameters[f"kernel{stage}"] = section.kernels
            if any(family.expansions for family in families):
                parameters[f"expansion{stage}"] = section.expansions
            for position in _exit_positions(section, stage):
                parameters[f"exit{stage}.{position}"] = (NO_EXIT, *section.heads)
        parameters["head"] = section.heads  # of the last exit
        self.parameters: Mapping[str, tuple[Choice, ...]] = parameters
        self.stages = len(section.depths)
        self.variation = ArchitectureVariation(parameters, section.max_exits)
        self._decode = lru_cache(REMEMBERED)(self._make_arch)

    def decode(self, params: Mapping[str, Choice]) -> Arch:
        """The architecture that `params` mean. Exits beyond `max_exits` are dropped, shallowest first.

        Shallow exits go first because a head there costs the most per image that it lets out.
        """
        return self._decode(tuple(params[name] for name in self.parameters))

    def _make_arch(self, choices: tuple[Choice, ...]) -> Arch:
        params = dict(zip(self.parameters, choices, strict=True))
        stages = [
            StageChoice(
                int(params[f"depth{stage}"]),
                int(params[f"width{stage}"]),
                int(params.get(f"kernel{stage}", 3)),
                int(params.get(f"expansion{stage}", 1)),
                int(params[f"stride{stage}"]) if f"stride{stage}" in params else None,
            )
            for stage in range(self.stages)
        ]
        numbers = {block: number for number, block in enumerate(blocks(params, self.stages))}
        early = [Exit(numbers[block], str(head)) for block, head in self.variation.exits(params).items()]
        arch = make_arch(
            str(params["family"]),
            image_shape=self.image_shape,
            classes=self.classes,
            stem=int(params["stem"]),
            stages=stages,
            exits=[*early, Exit(len(numbers) - 1, str(params["head"]))],
        )
        return replace(arch, stem_stride=int(params.get("stem_stride", 1)))

    def exit_blocks(self, params: Mapping[str, Choice]) -> list[int]:
        """The blocks of the architecture that may carry an early exit."""
        places = self.variation.places(params)
        return [number for number, block in enumerate(blocks(params, self.stages)) if block in places]

    def identify(self, params: Mapping[str, Choice]) -> str:
        """The id of the architecture that `params` mean."""
        return self.decode(params).id

    def costs(self, params: Mapping[str, Choice]) -> tuple[float, ...]:
        """What is known before a training: the MACs of the last and the first exit, and the number of exits."""
        macs = exit_macs(self.decode(params))
        return float(macs[-1]), float(macs[0]), float(len(macs))

    def middle(self) -> Arch:
        """An architecture of middling size with two exits, for estimates."""
        params = {name: choices[len(choices) // 2] for name, choices in self.parameters.items()}
        params |= {name: NO_EXIT for name in params if name.startswith("exit")}
        return self.decode({**params, **self._first_exit(params, self.parameters["head"][0])})

    def smallest(self) -> list[Arch]:
        """For each family and head the cheapest architecture that leaves as early as the space allows."""
        least = {n: min(c) if isinstance(c[0], int) else NO_EXIT for n, c in self.parameters.items()}
        least |= {n: max(c) for n, c in self.parameters.items() if n.startswith(("stem_stride", "stride"))}
        return [
            self.decode({**least, **self._first_exit(least, head), "family": family, "head": head})
            for family in self.parameters["family"]
            for head in self.parameters["head"]
        ]

    def _first_exit(self, params: Mapping[str, Choice], head: Choice) -> dict[str, Choice]:
        """The parameter of the first block that may carry an exit, with that head; nothing where no block may."""
        return {name: head for name in list(self.variation.places(params).values())[:1]}


def _exit_positions(section: SpaceSection, stage: int) -> list[str]:
    """Where in a stage an early exit may sit, as parameters name it."""
    if stage < section.first_exit_stage:
        return []
    if section.exits == "stage-ends":
        return [END] if stage < len(section.depths) - 1 else []
    return [str(position) for position in range(max(section.depths[stage]))]


def space_of(recipe: Recipe, dataset: Dataset) -> Space:
    """What may vary between students. Raises UserError for images that our families cannot take."""
    shape = square_shape(dataset) if recipe.space.own is None else image_shape(dataset)
    return Space(recipe.space, shape, len(dataset.classes))
