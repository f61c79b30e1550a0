"""How alignment uses rewards and their trust widths: the γ family (paper, equation 8 and Table 4)."""

from dataclasses import dataclass

import numpy as np

from prefpaint.errors import PrefPaintError
from prefpaint.trust.config import GammaConfig
from prefpaint.trust.fit import Trust


@dataclass(frozen=True)
class Amplification:
    """Weight γ.

    Attributes:
        config: kind and constants.
        unit: the width that counts as 1.
        scale: what γ is multiplied by, so that its mean over the training candidates is `config.average`.
        informative: False for γ = 1, because the width says nothing.
    """

    config: GammaConfig
    unit: float
    scale: float
    informative: bool

    def _formula(self, widths: np.ndarray) -> np.ndarray:
        width, config = widths / self.unit, self.config
        if config.kind == "exponential":
            return np.exp(config.b - config.k * width)
        if config.kind == "linear":
            return np.maximum(config.b + 1 - config.k * width, 0)
        return np.ones_like(width)

    @property
    def fell_back(self) -> bool:
        """Whether a kind that looks at widths was configured and 1 is used instead."""
        return not self.informative and self.config.kind != "static"

    def gamma(self, widths: np.ndarray) -> np.ndarray:
        """The weight of each sample.

        Args:
            widths: (N,) of `Trust.widths`.

        Returns:
            (N,) within `config.limits`: exp(b − k · width / unit), b + 1 − k · width / unit, or a constant.
        """
        if self.fell_back:
            return np.ones_like(widths)
        return np.clip(self.scale * self._formula(widths), *self.config.limits)

    def share_at_limit(self, widths: np.ndarray) -> float:
        """Share of samples whose γ is cut."""
        gamma = self.scale * self._formula(widths)
        return float(((gamma <= self.config.limits[0]) | (gamma >= self.config.limits[1])).mean())


def amplification(trust: Trust, config: GammaConfig, informative: bool = True) -> Amplification:
    """The formula fitted to the training candidates' widths, whether or not they carry information.

    Args:
        trust: its training widths give the unit and the mean.
        config: kind and constants.
        informative: see `Amplification`.

    Raises:
        PrefPaintError: a mean is configured, but γ is 0 for every training candidate.
    """
    unit = max(float(np.median(trust.train_widths)), 1e-12) if config.unit == "median" else 1.0
    plain = Amplification(config, unit, 1.0, informative)
    if config.average is None:
        return plain
    mean = float(plain._formula(trust.train_widths).mean())
    if mean <= 0:
        raise PrefPaintError("gamma: the weight is 0 for every training candidate; lower k or raise b")
    return Amplification(config, unit, config.average / mean, informative)


def usable(trust: Trust, config: GammaConfig) -> bool:
    """Whether alignment goes by the width: it carries information, or `config.uninformative` is `use`.

    Raises:
        PrefPaintError: it carries none and `config.uninformative` is `refuse`.
    """
    if not trust.informative and config.uninformative == "refuse":
        raise PrefPaintError(
            f"trust carries no information ({'; '.join(trust.reasons)}): set align.trust to none or "
            "gamma.uninformative to ones, or give `bound` another bound.width or more ratings"
        )
    return trust.informative or config.uninformative == "use"


def amplification_to_align(trust: Trust, config: GammaConfig) -> Amplification:
    """What alignment weighs by: the formula, or γ = 1 where the width carries no information.

    Raises:
        PrefPaintError: see `usable`; kind `static` does not look at widths.
    """
    return amplification(trust, config, config.kind == "static" or usable(trust, config))
