"""In which order prompts are handed out."""

from collections.abc import Collection, Iterable, Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from prefpaint.config import derive_seed
from prefpaint.images import ImageFolder
from prefpaint.masks.words import text_prompts

if TYPE_CHECKING:
    from prefpaint.reward.model import RewardModel
    from prefpaint.trust.fit import Trust

# The reward and V are fitted to this split alone.
FITTED_ON = "train"
# Time grows with the cube of it and memory with its square: 4,096 candidates take about a minute and 600 MB.
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
    rated: Collection[str],
    seed: int,
    most: int = MOST,
) -> list[str]:
    """Training prompts in the order in which rating their candidates would teach the reward most.

    Validation and test prompts are left out: chosen by the reward's own doubt, they would no longer be a fair sample
    to judge it by.

    Args:
        reward: trained on what has been rated so far.
        trust: of that reward, which nothing here can tell from another of its size.
        prompts: prompt_id, split and, where there are words, text_prompt.
        candidates: candidate_id, prompt_id.
        candidate_images, prompt_masks: their pictures.
        rated: ids of the prompts that reward and trust were fitted to; they come last, in the seeded order.
        seed: of the order in which equals come.
        most: candidates that are embedded and compared, from the beginning of the seeded order.

    Returns:
        prompt_ids; with more candidates than `most`, of unrated prompts the first in the seeded order alone.

    Raises:
        PrefPaintError: the trust is for embeddings of another size.
    """
    import torch

    from prefpaint.reward.training import RatedImages
    from prefpaint.trust.design import greedy_order, joint_widths

    fitted = set(prompts.loc[prompts["split"] == FITTED_ON, "prompt_id"])
    groups = candidates[candidates["prompt_id"].isin(fitted)].sort_values("candidate_id").groupby("prompt_id")
    fills = {str(name): group["candidate_id"].tolist() for name, group in groups}
    drawn, names, count = seeded(list(fills), seed), [], 0
    for name in drawn:
        count += len(fills[name])
        if count > most:
            break
        names.append(name)
    compared, last = set(names), [name for name in drawn if name in rated]
    waiting = [name for name in names if name not in rated]
    if not waiting:
        return last
    # What is rated comes behind what is ranked.
    rows = [
        (candidate, name)
        for name in (*waiting, *(name for name in last if name in compared))
        for candidate in fills[name]
    ]
    ids, holes = zip(*rows, strict=True)
    # Nobody has scored most of these, and features do not depend on scores.
    images = RatedImages(candidate_images, prompt_masks, ids, holes, np.full(len(ids), np.nan), text_prompts(prompts))
    features = images.features(reward, BATCH, "features of the candidates")
    with torch.no_grad():
        z = reward.read(features.to(reward.device))[1].cpu().numpy()
    ranked = sum(len(fills[name]) for name in waiting)
    known = np.arange(len(ids)) >= ranked
    joint = joint_widths(trust, z, reward.gram(features), known)[:ranked, :ranked]
    groups = np.repeat(np.arange(len(waiting)), [len(fills[name]) for name in waiting])
    return [waiting[number] for number in greedy_order(joint, groups)] + last
