"""The judge's training: what it is given, what it is asked, that it learns and resumes."""

from pathlib import Path

import numpy as np
import pytest
import torch

from prefpaint.errors import PrefPaintError
from prefpaint.fills.config import JudgeModelConfig
from prefpaint.fills.spoiled import SPOILS
from prefpaint.inpainting.checkpoint import load_pipeline
from prefpaint.inpainting.config import SamplingConfig
from prefpaint.inpainting.sampling import Inpainter
from prefpaint.photographs.sources import embedded_photographs
from prefpaint.small_model import fit, judge
from prefpaint.small_model.build import build_small_pipeline
from prefpaint.small_model.config import JudgeConfig, PretrainConfig
from prefpaint.small_model.examples import Examples
from tests.conftest import REPOSITORY
from tests.tiny import SIZE, TINY_MODEL

CONFIG = JudgeConfig(
    model=JudgeModelConfig(size=SIZE, channels=(8, 8, 8)),
    crops=16,
    levels=(0, 2),
    steps=6,
    batch=4,
    checkpoint_every=2,
    warm_up=1,
)


@pytest.fixture(scope="module")
def inpainter() -> Inpainter:
    return Inpainter(build_small_pipeline(TINY_MODEL, SIZE, 0), SamplingConfig(steps=3, batch=8), "cpu")


@pytest.fixture(scope="module")
def examples() -> Examples:
    rng = np.random.default_rng(0)
    ramp = np.linspace(0, 200, 80)[:, None, None] + np.linspace(0, 55, 60)[None, :, None]
    photographs = [np.clip(ramp * rng.uniform(0.4, 1, 3), 0, 255).astype(np.uint8) for _ in range(4)]
    return Examples.of(photographs, PretrainConfig(size=SIZE), warps=4)


def test_the_bank_has_every_kind(inpainter: Inpainter, examples: Examples) -> None:
    bank = judge.make_bank(inpainter, examples, CONFIG, 10, "test")
    assert bank.kinds == ("original", *SPOILS, "level 0", "level 2")
    assert bank.pictures.shape == (10, len(bank.kinds), SIZE, SIZE, 3)
    known = bank.masks == 0
    for column, kind in enumerate(bank.kinds):
        np.testing.assert_array_equal(
            bank.pictures[:, column][known & bank.made[:, column, None, None]],
            bank.pictures[:, 0][known & bank.made[:, column, None, None]],
        )
        # All but every eighth crop lack the one kind that takes long.
        assert bank.made[:, column].sum() == (2 if kind == "biharmonic" else 10)


def test_later_levels_keep_more_of_the_original() -> None:
    """With the embedded base, on the photographs of the wheels: an untrained codec would drown the difference."""
    photographs = [photograph.image for photograph in embedded_photographs()][:4]
    base = Inpainter(load_pipeline(REPOSITORY / "data/06_models/base"), SamplingConfig(steps=5, batch=16), "cpu")
    shown = Examples.of(photographs, PretrainConfig(), warps=2)
    config = CONFIG.model_copy(update={"levels": (0, 2, 4)})
    bank = judge.make_bank(base, shown, config, 16, "test")
    hole = np.broadcast_to(bank.masks[..., None] > 0, bank.pictures[:, 0].shape)
    errors = [np.abs(bank.pictures[:, column].astype(int) - bank.pictures[:, 0])[hole].mean() for column in bank.levels]
    assert errors[2] < 0.7 * errors[1] < 0.7 * errors[0]


def test_the_loss_by_hand() -> None:
    """Original against both others, mirrored against telea: three pairs with margins 1, 3 and 2."""
    logits = torch.tensor([[1.0, 0.0, -2.0]], dtype=torch.float64)
    loss = judge.preference_loss(logits, [["original", "mirrored", "telea"]])
    margins = torch.tensor([1.0, 3.0, 2.0], dtype=torch.float64)
    expected = (0.98 * torch.log1p(torch.exp(-margins)) + 0.02 * torch.log1p(torch.exp(margins))).mean()
    assert float(loss) == pytest.approx(float(expected))


def test_levels_are_ordered_and_nothing_else_is() -> None:
    logits = torch.tensor([[0.5, 2.0, 7.0]])
    loss = judge.preference_loss(logits, [["level 0", "level 4", "blurred"]])
    alone = judge.preference_loss(logits[:, :2], [["level 0", "level 4"]])
    assert float(loss) == float(alone) < float(judge.preference_loss(-logits[:, :2], [["level 0", "level 4"]]))


def test_a_killed_training_ends_in_the_same_weights(
    inpainter: Inpainter, examples: Examples, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = judge.train_judge(inpainter, examples, examples, CONFIG, tmp_path / "whole")
    save, saves = fit.save_state, 0

    def dies(state: dict[str, object], path: Path) -> None:
        nonlocal saves
        save(state, path)
        saves += 1
        if saves == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(fit, "save_state", dies)
    with pytest.raises(KeyboardInterrupt):
        judge.train_judge(inpainter, examples, examples, CONFIG, tmp_path / "killed")
    resumed = judge.train_judge(inpainter, examples, examples, CONFIG, tmp_path / "killed")
    assert resumed.digest() == whole.digest()


def test_it_learns_and_its_unit_is_set(inpainter: Inpainter, examples: Examples, tmp_path: Path) -> None:
    longer = CONFIG.model_copy(update={"steps": 60})
    trained = judge.train_judge(inpainter, examples, examples, longer, tmp_path)
    bank = judge.make_bank(inpainter, examples, longer, 64, "other crops")
    originals, fills = (trained.likeness(bank.pictures[:, column], bank.masks) for column in (0, bank.levels[0]))
    assert (originals > fills).mean() > 0.9
    # Set on other crops of the same photographs: standard error about 0.2.
    assert originals.mean() - fills.mean() == pytest.approx(2, abs=0.7)
    assert fills.mean() == pytest.approx(0, abs=0.7)


def test_levels_must_lie_on_the_chain(inpainter: Inpainter, examples: Examples, tmp_path: Path) -> None:
    wrong = CONFIG.model_copy(update={"levels": (0, 3)})
    with pytest.raises(PrefPaintError, match=r"judge\.levels: 3 is beyond the 3 steps"):
        judge.train_judge(inpainter, examples, examples, wrong, tmp_path)
