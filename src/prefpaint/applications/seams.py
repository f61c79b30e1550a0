"""How visible the joints of an extended picture are."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

# What "no more visible than others" means: the middle 95 % of the columns that are not joints.
RANGE = (2.5, 97.5)
# Bands beside a joint, as a part of the height; how many places of the original they are compared with at least, and
# the percentile of what is found there.
BANDS, MIN_BAND, LEAST_PLACES, PLACES = 8, 2, 16, 95
# Squared grey levels nobody sees.
ENERGY_FLOOR = 4.0


@dataclass(frozen=True)
class Visibility:
    """How visible the joints of one picture are.

    Steps from column to column are small by construction, for colours are matched there; bands on both sides of a joint
    show whether what was painted continues the picture.

    Attributes:
        joints: mean absolute difference to the column before, of each joint; grey levels.
        low, high: the middle 95 % of that of all other columns.
        colour_above, texture_above: of each joint, whether colour and texture change more across it, from band to
            band, than at 95 % of the places inside the original; empty where the original is too narrow to tell.
        colour_inside, texture_inside: the same of the places inside the original, each half judged by the other: what
            a picture that simply continues would show.
    """

    joints: list[float]
    low: float
    high: float
    colour_above: list[bool]
    texture_above: list[bool]
    colour_inside: list[bool]
    texture_inside: list[bool]

    @property
    def inside(self) -> int:
        """How many joints lie in the range."""
        return sum(self.low <= value <= self.high for value in self.joints)


def band_changes(image: np.ndarray, columns: Sequence[int]) -> np.ndarray:
    """Change from the band before some columns to the band after them, an eighth of the height wide.

    Args:
        image: (H, W, 3) uint8.
        columns: x; bands are [x - H / 8, x) and [x, x + H / 8), cut at the picture's ends.

    Returns:
        (N, 2) float64: mean distance of colours, place by place, grey levels; and difference of the log mean squared
        gradients.
    """
    band = max(MIN_BAND, image.shape[0] // BANDS)
    cells = np.array_split(np.arange(image.shape[0]), min(BANDS, image.shape[0]))

    def look(part: np.ndarray) -> tuple[np.ndarray, float]:
        colours = np.stack([part[rows].mean((0, 1)) for rows in cells])
        energy = np.square(np.diff(part, axis=0)).mean() + np.square(np.diff(part, axis=1)).mean()
        return colours, float(np.log(energy + ENERGY_FLOOR))

    rows = []
    pixels = image.astype(np.float64)
    for x in columns:
        (before, energy_before), (behind, energy_behind) = (
            look(pixels[:, max(0, x - band) : x]),
            look(pixels[:, x : x + band]),
        )
        rows.append((np.abs(before - behind).mean(), abs(energy_before - energy_behind)))
    return np.array(rows).reshape(-1, 2)


def seam_visibility(image: np.ndarray, joints: Sequence[int], original: np.ndarray) -> Visibility:
    """Compare the joints with other places of the picture.

    Args:
        image: (H, W, 3) uint8.
        joints: columns x; the joint lies between x - 1 and x.
        original: (H, w, 3) uint8, what was widened.
    """
    steps = np.abs(np.diff(image.astype(np.float64), axis=1)).mean((0, 2))
    at_joint = np.zeros(len(steps), bool)
    at_joint[[x - 1 for x in joints]] = True
    low, high = np.percentile(steps[~at_joint], RANGE)
    band = max(MIN_BAND, image.shape[0] // BANDS)
    places = range(band, original.shape[1] - band + 1)
    above = inside = np.zeros((0, 2), bool)
    if len(places) >= LEAST_PLACES:
        known = band_changes(original, places)
        above = band_changes(image, joints) > np.percentile(known, PLACES, axis=0)
        halves = np.array_split(known, 2)
        inside = np.concatenate(
            [ours > np.percentile(theirs, PLACES, axis=0) for ours, theirs in zip(halves, halves[::-1], strict=True)]
        )
    return Visibility(
        [float(steps[x - 1]) for x in joints],
        float(low),
        float(high),
        *(part[:, column].tolist() for part in (above, inside) for column in (0, 1)),
    )
