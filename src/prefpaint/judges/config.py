"""How a checkpoint of somebody else's model is named."""

import re
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator


def _folder_or_hub_id(checkpoint: str) -> str:
    """Reject a path that does not exist before hours of other work; only the hub can tell whether it has an id."""
    if checkpoint and not Path(checkpoint).is_dir() and not re.fullmatch(r"\w[\w.-]*(/[\w.-]+)?", checkpoint):
        raise ValueError(
            f"folder {checkpoint} does not exist; give the folder of a checkpoint or a hub id (owner/name)"
        )
    return checkpoint


Checkpoint = Annotated[str, AfterValidator(_folder_or_hub_id)]
