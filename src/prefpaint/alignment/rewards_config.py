"""What alignment raises, by weight: the learned reward, other people's models, the hole's edge, functions, servers."""

import re
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from prefpaint.config import Config, without_empty
from prefpaint.judges.config import Checkpoint


def _not_zero(weight: float) -> float:
    if weight == 0:
        raise ValueError("cannot be 0; set the reward to null to leave it out")
    return weight


Weight = Annotated[
    float,
    Field(
        allow_inf_nan=False,
        description="How much the reward counts; with combine: sum among several, in units of its own spread. Below 0 "
        "it is lowered.",
    ),
    AfterValidator(_not_zero),
]


class _Reward(Config):
    """What every reward has."""

    weight: Weight = 1.0


class LearnedReward(_Reward):
    """The reward model of the `reward` pipeline, with its trust."""

    kind: Literal["learned"] = "learned"


class _Batched(_Reward):
    """What every reward has that is given some pictures at a time."""

    batch: int = Field(32, ge=1, description="Pictures scored at a time.")


class _Text(_Batched):
    """What every model has that compares pictures with a text."""

    text: str = Field("a photograph", description="Text for pictures whose prompt has no words of its own.")


class CLIPReward(_Text):
    """CLIP score: 100 · cosine of picture and text, at least 0."""

    kind: Literal["clip"] = "clip"
    checkpoint: Checkpoint = Field(
        min_length=1, description="Folder or hub id of a transformers CLIP model with its processor."
    )


class HPSReward(_Text):
    """HPS v2: the CLIP score of a CLIP ViT-H/14 that was fitted to people's choices."""

    kind: Literal["hps"] = "hps"
    checkpoint: Checkpoint = Field(
        min_length=1,
        description="Folder or hub id of the model as a transformers CLIP model with its processor. The published .pt "
        "is OpenCLIP's and must be converted first.",
    )


class AestheticReward(_Batched):
    """An aesthetic predictor: its one output, or the probability of its label "aesthetic"."""

    kind: Literal["aesthetic"] = "aesthetic"
    checkpoint: Checkpoint = Field(min_length=1, description="Folder or hub id of a transformers image classifier.")


class ImageRewardReward(_Text):
    """ImageReward's preference score."""

    kind: Literal["imagereward"] = "imagereward"
    checkpoint: Checkpoint = Field(
        min_length=1,
        description="Folder with ImageReward.pt, med_config.json and BERT's vocab.txt as published, or the hub id "
        "THUDM/ImageReward.",
    )


class BoundaryReward(_Batched):
    """Minus what shows at the hole's edge: seams, and colours that jump. To be raised beside a learned reward."""

    kind: Literal["boundary"] = "boundary"
    seam: float = Field(
        1.0,
        ge=0,
        allow_inf_nan=False,
        description="Weight of the seam, the logarithm of steps across the edge over steps beside it; an edge that is "
        "smoother than its surroundings gains nothing.",
    )
    colour_step: float = Field(
        0.05,
        ge=0,
        allow_inf_nan=False,
        description="Weight of a grey level of colour step at the edge. With the default, 14 grey levels count as much "
        "as steps across the edge that are twice those beside it.",
    )

    @model_validator(mode="after")
    def _check(self) -> "BoundaryReward":
        if self.seam == self.colour_step == 0:
            raise ValueError("seam and colour_step cannot both be 0; set the reward to null to leave it out")
        return self


def _module_and_function(function: str) -> str:
    name = r"[^\W\d]\w*"
    if not re.fullmatch(rf"{name}(\.{name})*:{name}", function):
        raise ValueError("must be module:function")
    return function


class PythonReward(_Batched):
    """A function of yours: images (N, H, W, 3) and masks (N, H, W), both uint8, → N numbers."""

    kind: Literal["python"] = "python"
    function: Annotated[str, AfterValidator(_module_and_function)] = Field(
        description="Where it is, as module:function; imported when the run starts."
    )


def _http_url(url: str) -> str:
    parts = urlsplit(url)
    # Asking for the port checks it.
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.port == 0:
        raise ValueError("must be a URL that begins with http:// or https://")
    if not re.fullmatch("[!-~]+", url):
        raise ValueError("must be a URL without spaces and with ASCII characters only")
    if parts.username or parts.password:
        raise ValueError("cannot hold a user name or a password: it is written into the run's records")
    return url


class HTTPReward(_Batched):
    """A server that scores pictures; every one is sent to it."""

    kind: Literal["http"] = "http"
    url: Annotated[str, AfterValidator(_http_url)] = Field(description="Where pictures are posted to.")
    timeout: float = Field(
        30.0, gt=0, allow_inf_nan=False, description="Seconds to wait for the scores of one batch before trying again."
    )
    retries: int = Field(
        5,
        ge=0,
        le=10,
        description="Further attempts when the server cannot be reached, is late or overloaded (429) or fails (5xx), "
        "after 1, 2, 4, … seconds. Then the run stops; started again, it resumes.",
    )


RewardKind = (
    LearnedReward
    | CLIPReward
    | HPSReward
    | AestheticReward
    | ImageRewardReward
    | BoundaryReward
    | PythonReward
    | HTTPReward
)
Rewards = Annotated[dict[str, Annotated[RewardKind, Field(discriminator="kind")]], BeforeValidator(without_empty)]

ALONE: dict[str, RewardKind] = {"learned": LearnedReward()}
# Names of other columns in the history and in the looks at held-out prompts.
RESERVED = (
    *("reward", "referee", "noiseless", "spread_within_prompt"),
    *("iteration", "brightness", "saturation", "sharpness", "kl"),
)
# Never the result.
SPEED_ONLY = {"batch", "timeout", "retries"}


def check_rewards(rewards: dict[str, RewardKind]) -> None:
    """Reject rewards that cannot be combined or whose names cannot be columns.

    Raises:
        ValueError: there is none, several are learned, or a name is not allowed.
    """
    if not rewards:
        raise ValueError("rewards: is empty; name at least one reward to raise")
    for name in rewards:
        if not re.fullmatch("[a-z][a-z0-9_]*", name) or name in RESERVED:
            raise ValueError(
                f"rewards: {name!r} is not a valid name; use small letters, digits and _, not {', '.join(RESERVED)}"
            )
        if re.search(r"_gain(_error)?$", name):
            raise ValueError(f"rewards: {name!r} reads like a part of a metric's name; choose another")
    if sum(reward.kind == "learned" for reward in rewards.values()) > 1:
        raise ValueError("rewards: there is one learned reward; name it once")


def identity_of(rewards: dict[str, RewardKind]) -> dict[str, Any]:
    """What the result depends on, as JSON."""
    return {name: reward.model_dump(mode="json", exclude=SPEED_ONLY) for name, reward in rewards.items()}
