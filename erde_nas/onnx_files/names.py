"""What segments call their inputs and outputs, so that they can be put in a row. Needs nothing."""

SECOND = "second/"  # how all names in the segments of a cascade's second network begin
MEAN = f"{SECOND}mean_"  # and the node in them that gives averaged logits


def input_name(number: int) -> str:
    """The input of segment `number`."""
    return "image" if number == 0 else f"features{number - 1}"


def output_names(number: int, segments: int) -> list[str]:
    """The outputs of segment `number` of `segments`, logits first."""
    return [f"logits{number}"] + ([f"features{number}"] if number < segments - 1 else [])
