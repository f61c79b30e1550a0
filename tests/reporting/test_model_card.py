"""The model card: valid front matter, every number from the run, and what must not be hidden."""

import ast
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from huggingface_hub import metadata_load
from PIL import Image

from prefpaint.alignment.config import AlignConfig
from prefpaint.errors import PrefPaintError
from prefpaint.evaluation.measures import measure
from prefpaint.evaluation.methods import compare_methods
from prefpaint.inpainting.checkpoint import load_pipeline
from prefpaint.inpainting.config import SamplingConfig
from prefpaint.inpainting.families.registry import family_of
from prefpaint.reporting.model_card import Facts, base_license, model_card
from prefpaint.reporting.sentences import OUTSIDE_JUDGE
from prefpaint.reporting.wording import number, percent
from tests.evaluation.test_measures import judged
from tests.reporting.test_page import CONFIG

METRICS: dict[str, dict[str, Any]] = {
    "preferences": {"ratings": 6624, "comparisons": 12, "raters": 3, "alpha_score": 0.536, "rank_agreement": 0.63},
    "reward": {
        "test_noiseless_pair_accuracy": 0.766,
        "test_noiseless_pair_accuracy_low": 0.724,
        "test_noiseless_pair_accuracy_high": 0.802,
        "test_noiseless_spearman": 0.718,
    },
    "bound": {"test_spearman_width_error": 0.148, "test_bound_half_width": 31.9, "test_bound_coverage_noiseless": 1.0},
    "align": {"iterations": 28, "network_evaluations": 64512, "reward_first_fifth": 0.07, "reward_last_fifth": 0.28},
}


def facts(people: bool = False, telea: float = 0.0) -> Facts:
    samples = judged(1.0, CONFIG, people)
    samples.loc[samples["method"] == "telea", ["reward", "noiseless"]] += telea
    return Facts(
        base="base",
        pipeline="StableDiffusionInpaintPipeline",
        size=64,
        stock_call={"num_inference_steps": 6},
        simulated=not people,
        align=AlignConfig(mode="ddpo", seed=3),
        sampling=SamplingConfig(steps=6),
        photographs=pd.DataFrame({"photograph": ["a", "a", "b"], "source": "holiday"}),
        prompts=pd.DataFrame({"split": ["train", "train", "seen"], "pattern": ["warp", "brush", "warp"]}),
        table=measure(samples, CONFIG),
        methods=compare_methods(samples, CONFIG),
        metrics=METRICS | ({"reward": {"test_ratings_pair_accuracy": 0.7}, "bound": {}} if people else {}),
    )


def test_the_front_matter_is_the_hubs(tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text(model_card(facts(), "openrail++"))
    data = metadata_load(tmp_path / "README.md")
    assert data is not None and data["license"] == "openrail++" and data["library_name"] == "diffusers"
    results = data["model-index"][0]["results"]
    wanted = facts().table.query("pattern == 'all' and judge == 'noiseless' and quantity == 'win_rate'")
    wanted = wanted[(wanted["comparison"] == "independent") & (wanted["best_of"] == 1)]
    assert [one["metrics"][0]["value"] for one in results] == pytest.approx(wanted["value"].tolist(), abs=1e-6)


@pytest.mark.parametrize("stock_call", [{"num_inference_steps": 6, "eta": 1.0}, {"num_inference_steps": 6}, None])
def test_the_snippet_compiles_and_calls_what_can_paint(stock_call: dict[str, Any] | None) -> None:
    card = model_card(replace(facts(), stock_call=stock_call), "")
    (snippet,) = re.findall(r"^```python\n(.*?)^```$", card, re.MULTILINE | re.DOTALL)
    names = {node.id for node in ast.walk(ast.parse(snippet)) if isinstance(node, ast.Name)}
    assert ("Inpainter" in names) == (stock_call is None) and ("steps=6" in snippet)
    assert ("DDIMScheduler" in names) == ("eta" in (stock_call or {}))


def test_every_number_of_the_run_is_there() -> None:
    card = model_card(facts(), "")
    for value in (
        "6,624",
        "and 12 comparisons",
        "by 3 simulated raters",
        "64,512",
        "64 x 64",
        "2 (a, b), source holiday",
        "seed 3, 28",
    ):
        assert value in card
    assert f"{percent(0.766)} [{percent(0.724)}, {percent(0.802)}]" in card and number(31.9) in card
    assert "1 seen, 2 train" in card


def training(mode: str, **align: float | int) -> str:
    """The section of the card about training."""
    given = replace(facts(), align=AlignConfig(mode=mode, seed=3), metrics=METRICS | {"align": align})
    return model_card(given, "").partition("## Training\n\n")[2].partition("\n\n## Limits")[0]


def test_training_is_told_by_what_the_mode_looks_at() -> None:
    begun = "seed 3, 28 iterations, 64,512 network evaluations"
    assert training("published", **METRICS["align"]) == (
        f"Mode `published`, {begun}; mean reward {number(0.07)} in the first fifth, {number(0.28)} in the last."
    )
    assert training("dpo", iterations=28, network_evaluations=64512, loss_first_fifth=0.693, loss_last_fifth=0.5) == (
        f"Mode `dpo`, {begun}; mean loss of the rated pairs {number(0.693)} in the first fifth, {number(0.5)} in the "
        "last."
    )


def test_a_reward_is_said_to_be_raised_only_where_it_was() -> None:
    losses = {"iterations": 28, "network_evaluations": 64512, "loss_first_fifth": 0.693, "loss_last_fifth": 0.5}
    direct = model_card(replace(facts(), align=AlignConfig(mode="dpo"), metrics=METRICS | {"align": losses}), "")
    raised = model_card(facts(), "")
    for card, here, elsewhere in ((raised, 1, 0), (direct, 0, 1)):
        assert card.count("the model was\naligned to raise it") == card.count("can be exploited") == here
        assert card.count("training did not raise it") == card.count("not an independent judge") == elsewhere


def test_what_must_not_be_hidden_is_said() -> None:
    card = model_card(facts(), "")
    assert "**The raters were simulated.**" in card and "states no licence" in card
    people = model_card(facts(people=True), "mit")
    assert "simulated" not in people and "an upper limit" in people
    assert "Licence of the base: mit" in people
    assert "for this judge there are better fills" in model_card(facts(telea=100.0), "")
    assert "better fills" not in card
    for each in (card, people):
        assert OUTSIDE_JUDGE in each and "by ST-LPIPS (VGG16): " in each


def test_the_licence_of_the_base(tmp_path: Path) -> None:
    assert base_license(str(tmp_path)) == ""
    (tmp_path / "README.md").write_text("# No front matter\n")
    assert base_license(str(tmp_path)) == ""
    (tmp_path / "README.md").write_text("---\nlicense: creativeml-openrail-m\n---\n# A model\n")
    assert base_license(str(tmp_path)) == "creativeml-openrail-m"
    (tmp_path / "README.md").write_text("---\nlicense: [\n---\n# A model\n")
    with pytest.raises(
        PrefPaintError, match=re.escape(str(tmp_path / "README.md")) + ": cannot be read as a model card"
    ):
        base_license(str(tmp_path))


def test_the_licence_of_a_base_on_a_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    assert base_license("nobody/nothing-of-this-name") is None
    assert "could not be looked up" in model_card(facts(), None)
    (tmp_path / "README.md").write_text("---\nlicense: mit\n---\n")
    monkeypatch.setattr("huggingface_hub.hf_hub_download", lambda *_: str(tmp_path / "README.md"))
    assert base_license("somebody/something") == "mit"
    card = model_card(replace(facts(), base="somebody/something"), "mit")
    (tmp_path / "card.md").write_text(card)
    data = metadata_load(tmp_path / "card.md")
    assert data is not None and data["base_model"] == "somebody/something" and data["license"] == "mit"


def test_the_call_in_the_card_works(tiny_base: Path, tmp_path: Path) -> None:
    """The code that a reader copies, on the checkpoint that it stands beside."""
    sampling = SamplingConfig(steps=2, eta=1.0, text_prompt='a "fine" \\ photo')
    call = family_of(load_pipeline(tiny_base)).stock_call(sampling)
    card = model_card(replace(facts(), size=32, sampling=sampling, stock_call=call), "mit")
    code = card.partition("```python\n")[2].partition("```")[0].replace("this folder", str(tiny_base))
    image = np.random.default_rng(0).integers(0, 256, (32, 32, 3)).astype(np.uint8)
    hole = np.zeros((32, 32), np.uint8)
    hole[:, 16:] = 255
    names = {"image": Image.fromarray(image), "mask": Image.fromarray(hole)}
    exec(code, names)
    result = np.asarray(names["result"])
    np.testing.assert_array_equal(result[:, :16], image[:, :16])
    assert (result[:, 16:] != image[:, 16:]).any()


def test_several_rewards_are_named() -> None:
    mine = {"kind": "python", "function": "mine:f", "weight": -0.5}

    def card(**rewards: Any) -> str:
        return model_card(
            replace(facts(), align=AlignConfig.model_validate({"rewards": rewards, "combine": "rank"})), ""
        )

    both = card(learned={"kind": "learned"}, mine=mine)
    assert "Raised, combined by rank: `learned` (learned, weight 1), `mine` (python, weight -0.5)." in both
    assert "aligned to raise it, among other rewards." in both and "The reward is a model of ratings" in both
    alone = card(mine=mine)
    assert "aligned to raise other rewards than the one that was" in alone
    assert "The rewards that were raised can be exploited" in alone
    assert "Raised, combined" not in model_card(facts(), "")
