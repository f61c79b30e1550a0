"""In which order prompts are handed out."""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from prefpaint.config import derive_seed
from prefpaint.images import ImageFolder
from prefpaint.masks.words import text_prompts
from prefpaint.progress import Progress

if TYPE_CHECKING:
    from prefpaint.reward.model import RewardModel
    from prefpaint.trust.fit import Trust

# The reward and V are fitted to this split alone.
FITTED_ON = "train"
# Time grows with the cube of it and memory with its square: 4,096 candidates take about a minute and 300 MB.
MOST = 4096
BATCH = 64


def seeded(prompt_ids: Iterable[str], seed: int) -> list[str]:
    """Prompts in the order drawn from the seed."""
    return sorted(prompt_ids, key=lambda name: derive_seed("prompt", seed, name))


def rearranged(names: Sequence[str], order: Sequence[str]) -> list[str]:
    """The same names, those of `order` in that order in the places that they have among the others.

    Args:
        names: each once.
        order: some of the names; others are left out.
    """
    known = set(names)
    moved = [name for name in order if name in known]
    places, coming = set(moved), iter(moved)
    return [next(coming) if name in places else name for name in names]


def by_width(
    reward: "RewardModel",
    trust: "Trust",
    prompts: pd.DataFrame,
    candidates: pd.DataFrame,
    candidate_images: ImageFolder,
    prompt_masks: ImageFolder,
    seed: int,
    most: int = MOST,
) -> list[str]:
    """Training prompts in the order in which rating their candidates would teach the reward most.

    Validation and test prompts are left out: chosen by the reward's own doubt, they would no longer be a fair sample
    to judge it by.

    Args:
        reward: trained on what has been rated so far.
        trust: of that reward.
        prompts: prompt_id, split and, where there are words, text_prompt.
        candidates: candidate_id, prompt_id.
        candidate_images, prompt_masks: their pictures.
        seed: of the order in which equals come.
        most: candidates that are embedded and compared, from the beginning of the seeded order.

    Returns:
        prompt_ids; with more candidates than `most`, those of the first of them in the seeded order.

    Raises:
        PrefPaintError: the trust belongs to another reward model.
    """
    import torch

    from prefpaint.trust.design import greedy_order, joint_widths

    fitted = set(prompts.loc[prompts["split"] == FITTED_ON, "prompt_id"])
    groups = candidates[candidates["prompt_id"].isin(fitted)].sort_values("candidate_id").groupby("prompt_id")
    fills = {str(name): group["candidate_id"].tolist() for name, group in groups}
    names, count = [], 0
    for name in seeded(list(fills), seed):
        count += len(fills[name])
        if count > most:
            break
        names.append(name)
    pairs = [(candidate, name) for name in names for candidate in fills[name]]
    if not pairs:
        return []
    words, parts = text_prompts(prompts), []
    batches = candidate_images.batches([candidate for candidate, _ in pairs], BATCH)
    with Progress("features of the candidates", len(pairs)) as progress:
        for places in batches:
            images, holes = zip(*(pairs[place] for place in places), strict=True)
            texts = [words[name] for name in holes]
            parts.append(reward.features(candidate_images.stack(images), prompt_masks.stack(holes), BATCH, texts))
            progress.step(len(images))
    features = torch.cat(parts)[np.argsort(np.concatenate(batches))]
    with torch.no_grad():
        z = reward.read(features.to(reward.device))[1].cpu().numpy()
    place = {name: number for number, name in enumerate(names)}
    order = greedy_order(joint_widths(trust, z, reward.gram(features)), np.array([place[name] for _, name in pairs]))
    return [names[number] for number in order]
