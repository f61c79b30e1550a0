"""The prompts' words."""

import pandas as pd


def text_prompts(prompts: pd.DataFrame) -> dict[str, str]:
    """Words by prompt_id; empty ones, which `sampling.text_prompt` stands in for, where the table has no such column.

    Args:
        prompts: prompt_id and, where there are words, text_prompt.
    """
    words = prompts["text_prompt"] if "text_prompt" in prompts else [""] * len(prompts)
    return dict(zip(prompts["prompt_id"], words, strict=True))
