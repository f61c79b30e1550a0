"""Checkpoints as people have them: read, or refused in one sentence that says what to do."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKL, AutoencoderTiny
from safetensors.torch import load_file, save_file

from prefpaint.errors import PrefPaintError
from prefpaint.inpainting.checkpoint import load_pipeline, save_pipeline, weights_digest
from prefpaint.inpainting.config import SamplingConfig
from prefpaint.inpainting.families.registry import native_size
from prefpaint.inpainting.sampling import Inpainter
from tests.families import random_model
from tests.tiny import SIZE

UNET = "unet/diffusion_pytorch_model.safetensors"
VAE = "vae/diffusion_pytorch_model.safetensors"
WORDS = "text_encoder/model.safetensors"


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """A checkpoint of each kind, written once."""
    folder = tmp_path_factory.mktemp("saved")

    def write(model: str) -> Path:
        if not (folder / model).exists():
            save_pipeline(random_model(model), folder / model)
        return folder / model

    return write


@pytest.fixture
def given(saved: Callable[[str], Path], tmp_path: Path) -> Callable[..., Path]:
    """A copy of one to break."""

    def copy(model: str = "epsilon") -> Path:
        return Path(shutil.copytree(saved(model), tmp_path / "given"))

    return copy


def edit(file: Path, **changes: Any) -> None:
    """Set keys of a JSON file; `None` takes one out."""
    content = json.loads(file.read_text()) | changes
    file.write_text(json.dumps({key: value for key, value in content.items() if value is not None}))


def spoil(file: Path, key: str, change: Callable[[torch.Tensor], torch.Tensor]) -> None:
    weights = load_file(file)
    weights[key] = change(weights[key])
    save_file(weights, file)


def said(folder: Path) -> str:
    with pytest.raises(PrefPaintError) as caught:
        load_pipeline(folder)
    message = str(caught.value)
    assert "\n" not in message and message.startswith(str(folder)), message
    return message


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize(
    ("file", "key"),
    [
        (VAE, "decoder.conv_out.weight"),
        (VAE, "encoder.conv_in.bias"),
        (UNET, "conv_in.weight"),
        (UNET, "up_blocks.1.resnets.0.norm1.weight"),
        (WORDS, "embeddings.token_embedding.weight"),
    ],
)
def test_one_weight_that_is_not_finite(given: Callable[..., Path], file: str, key: str, value: float) -> None:
    folder = given()
    key = next(name for name in load_file(folder / file) if name.endswith(key))
    spoil(folder / file, key, lambda weight: weight.index_fill(0, torch.tensor([0]), value))
    message = said(folder)
    assert f"of its {file.split('/')[0]} is not finite, and fills would be black" in message and key[-20:] in message


def test_a_network_of_zeros(given: Callable[..., Path]) -> None:
    folder = given()
    save_file({name: 0 * value for name, value in load_file(folder / UNET).items()}, folder / UNET)
    assert "all weights of its unet are 0" in said(folder)


def test_a_weight_that_is_missing_or_has_no_place(given: Callable[..., Path]) -> None:
    for file in (UNET, VAE, WORDS):
        folder = given()
        weights = load_file(folder / file)
        first = sorted(weights)[0]
        save_file({name: value for name, value in weights.items() if name != first}, folder / file)
        assert f"its {file.split('/')[0]} lacks the weight {first}" in said(folder)
        shutil.rmtree(folder)
    folder = given()
    save_file(load_file(folder / UNET) | {"mid_block.more": torch.ones(1)}, folder / UNET)
    assert "has the weight mid_block.more, which a UNet2DConditionModel of its config.json has no place for" in said(
        folder
    )


SCHEDULER = "scheduler/scheduler_config.json"
BROKEN: dict[str, tuple[str, str, dict[str, Any], str]] = {
    "flow matching on a UNet": (
        "epsilon",
        SCHEDULER,
        {"_class_name": "FlowMatchEulerDiscreteScheduler"},
        "is of the class FlowMatchEulerDiscreteScheduler, whose noise levels are not those of Stable Diffusion",
    ),
    "an EDM scheduler": ("xl", SCHEDULER, {"_class_name": "EDMEulerScheduler"}, "is of the class EDMEulerScheduler"),
    "betas on a flow": (
        "sd3",
        SCHEDULER,
        {"_class_name": "EulerDiscreteScheduler"},
        "is of the class EulerDiscreteScheduler",
    ),
    "no first beta": ("epsilon", SCHEDULER, {"beta_start": None}, "has no beta_start, and diffusers' own is"),
    "no last beta": ("epsilon", SCHEDULER, {"beta_end": None}, "has no beta_end"),
    "no beta schedule": ("xl", SCHEDULER, {"beta_schedule": None}, "has no beta_schedule"),
    "no shift": ("sd3", SCHEDULER, {"shift": None}, "has no shift, and diffusers' own is"),
    "zero terminal SNR": (
        "epsilon",
        SCHEDULER,
        {"rescale_betas_zero_snr": True},
        "predicts noise (epsilon) under zero terminal SNR",
    ),
    "an unknown prediction": ("epsilon", SCHEDULER, {"prediction_type": "flow_prediction"}, "'flow_prediction'"),
    "betas of 0": ("epsilon", SCHEDULER, {"trained_betas": [-0.1, 0.2]}, "has betas outside 0 to 1"),
    "a shift of the VAE": ("epsilon", "vae/config.json", {"shift_factor": 0.1}, "has 0.1 as shift_factor of its vae"),
    "no scaling factor": ("epsilon", "vae/config.json", {"scaling_factor": None}, "has no scaling_factor"),
    "no scaling factor of XL": ("xl", "vae/config.json", {"scaling_factor": None}, "has no scaling_factor"),
    "a scaling factor of 0": ("flux_fill", "vae/config.json", {"scaling_factor": 0}, "has 0 as scaling_factor"),
    "a NaN scaling factor": (
        "epsilon",
        "vae/config.json",
        {"scaling_factor": float("nan")},
        "has nan as scaling_factor",
    ),
    "latents with means": ("xl", "vae/config.json", {"latents_mean": [0.0] * 4}, "has latents_mean and latents_std"),
    "another VAE": ("epsilon", "model_index.json", {"vae": ["diffusers", "AutoencoderTiny"]}, "by its own config.json"),
    "SD as XL": (
        "epsilon",
        "model_index.json",
        {"_class_name": "StableDiffusionXLInpaintPipeline"},
        "says that it is of Stable Diffusion XL inpainting, and lists no text_encoder_2",
    ),
    "XL as SD": (
        "xl",
        "model_index.json",
        {"_class_name": "StableDiffusionInpaintPipeline"},
        "says that it is of Stable Diffusion inpainting, which has no te",
    ),
    "XL as SD, encoder hidden": (
        "xl",
        "model_index.json",
        {"_class_name": "StableDiffusionPipeline", "text_encoder_2": None, "tokenizer_2": None},
        "has its texts of width 8 instead of 16",
    ),
    "SD as FLUX": ("epsilon", "model_index.json", {"_class_name": "FluxFillPipeline"}, "has no unet"),
    "SD3 as FLUX": ("sd3", "model_index.json", {"_class_name": "FluxFillPipeline"}, "has SD3Transformer2DModel as its"),
    "no VAE listed": ("epsilon", "model_index.json", {"vae": [None, None]}, "lists no vae"),
    "no text encoder listed": ("epsilon", "model_index.json", {"text_encoder": None}, "lists no text_encoder"),
    "no scheduler listed": ("epsilon", "model_index.json", {"scheduler": None}, "lists no scheduler"),
    "a class of nobody": ("epsilon", "model_index.json", {"unet": ["diffusers", "UNet9"]}, "diffusers does not have"),
    "a library of the user": ("epsilon", "model_index.json", {"unet": ["mine", "Net"]}, "is a Net of mine"),
    "scores of beauty asked for": (
        "xl",
        "model_index.json",
        {"requires_aesthetics_score": True},
        "has texts and sizes of width 48 instead of 56",
    ),
    "quantized": ("epsilon", "unet/config.json", {"quantization_config": {}}, "are quantized"),
    "a size of nothing": ("epsilon", "unet/config.json", {"sample_size": None}, "has no sample_size; write"),
    "a size of no pixels": (
        "flux_fill",
        "vae/config.json",
        {"sample_size": None},
        "in pixels, of the pictures it paints",
    ),
    "another width": ("epsilon", "unet/config.json", {"cross_attention_dim": 12}, "cannot be loaded"),
    "distilled guidance": ("epsilon", "unet/config.json", {"time_cond_proj_dim": 8}, "lacks the weight time_embedding"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_numbers_that_the_family_does_not_know(given: Callable[..., Path], case: str) -> None:
    model, file, changes, message = BROKEN[case]
    folder = given(model)
    edit(folder / file, **changes)
    assert message in said(folder)


def test_a_vae_without_a_posterior(given: Callable[..., Path]) -> None:
    folder = given()
    shutil.rmtree(folder / "vae")
    AutoencoderTiny(encoder_block_out_channels=(8,) * 4, decoder_block_out_channels=(8,) * 4).save_pretrained(
        folder / "vae"
    )
    edit(folder / "model_index.json", vae=["diffusers", "AutoencoderTiny"])
    assert "has AutoencoderTiny as its vae" in said(folder)


def test_stable_diffusions_own_vae_needs_no_scaling_factor(given: Callable[..., Path]) -> None:
    """Published before diffusers had the key."""
    folder = given()
    types = {"down_block_types": ("DownEncoderBlock2D",) * 4, "up_block_types": ("UpDecoderBlock2D",) * 4}
    vae = AutoencoderKL(block_out_channels=(128, 256, 512, 512), **types, layers_per_block=1, norm_num_groups=4)
    shutil.rmtree(folder / "vae")
    vae.save_pretrained(folder / "vae")
    edit(folder / "vae/config.json", scaling_factor=None)
    assert load_pipeline(folder).vae.config.scaling_factor == 0.18215


def rename(folder: Path, variant: str) -> None:
    for file in folder.glob("*/*.safetensors"):
        file.rename(file.with_name(f"{file.stem}.{variant}.safetensors"))


@pytest.mark.parametrize("variant", ["fp16", "bf16", "non_ema", "mine"])
def test_weights_of_one_variant(given: Callable[..., Path], variant: str) -> None:
    folder = given()
    plain = weights_digest(load_pipeline(folder))
    rename(folder, variant)
    assert weights_digest(load_pipeline(folder)) == plain


@pytest.mark.parametrize("model", ["xl", "sd3", "flux_fill"])
def test_half_precision_alone_of_every_family(given: Callable[..., Path], model: str) -> None:
    folder = given(model)
    shutil.rmtree(folder)
    save_pipeline(random_model(model), folder, "float16")
    plain = weights_digest(load_pipeline(folder))
    rename(folder, "fp16")
    loaded = load_pipeline(folder)
    assert weights_digest(loaded) == plain and loaded.vae.dtype == torch.float32


def test_the_most_precise_variant_is_read(given: Callable[..., Path]) -> None:
    folder = given()
    plain = weights_digest(load_pipeline(folder))
    for file in list(folder.glob("*/*.safetensors")):
        half = {name: value.half() for name, value in load_file(file).items()}
        save_file(half, file.with_name(f"{file.stem}.fp16.safetensors"))
    assert weights_digest(load_pipeline(folder)) == plain
    (folder / UNET).unlink()
    # One part in half precision alone, the others in both.
    assert weights_digest(load_pipeline(folder)) != plain
    shutil.copy(folder / VAE, folder / VAE.replace(".safe", ".a.safe"))
    (folder / VAE).rename(folder / VAE.replace(".safe", ".b.safe"))
    (folder / VAE.replace(".safe", ".fp16.safe")).unlink()
    assert "several variants (a, b); leave the wanted one" in said(folder)


@pytest.mark.parametrize("variant", [None, "fp16"])
def test_shards(given: Callable[..., Path], variant: str | None) -> None:
    folder = given()
    pipe = load_pipeline(folder)
    plain = weights_digest(pipe)
    shutil.rmtree(folder / "unet")
    pipe.unet.save_pretrained(folder / "unet", max_shard_size="20KB", variant=variant)
    assert weights_digest(load_pipeline(folder)) == plain
    (index,) = (folder / "unet").glob("*index*")
    shard = sorted((folder / "unet").glob("*-of-*"))[1]
    kept = shard.read_bytes()
    shard.unlink()
    assert f"{shard}: is missing" in said(folder)
    shard.write_bytes(kept)
    index.write_text('{"weight_map"')
    assert f"{index}: is damaged" in said(folder)
    index.write_text("{}")
    assert "it lists no weights" in said(folder)
    index.unlink()
    assert "the index of its weights" in said(folder)


def test_pickled_weights_are_never_read(given: Callable[..., Path]) -> None:
    folder = given()
    pipe = load_pipeline(folder)
    (folder / UNET).unlink()
    pipe.unet.save_pretrained(folder / "unet", safe_serialization=False)
    message = said(folder)
    assert "pickled (.bin)" in message and "convert the checkpoint once with diffusers" in message
    # Beside safetensors they do no harm, their index neither.
    pipe.unet.save_pretrained(folder / "unet")
    (folder / "unet/diffusion_pytorch_model.bin.index.json").write_text('{"weight_map": {"a": "not_there.bin"}}')
    load_pipeline(folder)


def test_weights_by_another_name_and_pointers(given: Callable[..., Path]) -> None:
    folder = given()
    (folder / UNET).rename(folder / "unet/model.safetensors")
    assert "called model.safetensors; rename them to diffusion_pytorch_model.safetensors" in said(folder)
    (folder / UNET).write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n")
    assert "is a pointer of Git LFS" in said(folder)
    (folder / UNET).write_bytes(b"")
    assert "cannot be loaded as an inpainting checkpoint (unet: " in said(folder)


@pytest.mark.parametrize(
    "extra",
    [
        {"safety_checker": ["stable_diffusion", "StableDiffusionSafetyChecker"]},
        {"safety_checker": [None, None]},
        {"image_encoder": [None, None]},
        {"image_encoder": ["transformers", "CLIPVisionModelWithProjection"]},
        {"feature_extractor": ["transformers", "CLIPImageProcessor"]},
        {"watermarker": ["mine", "Watermarker"]},
        {"controlnet": ["diffusers", "ControlNetModel"]},
        {"note": "made on a Sunday"},
        {"prior": None},
        {"force_zeros_for_empty_prompt": True},
    ],
)
def test_components_that_nothing_uses(given: Callable[..., Path], extra: dict[str, Any]) -> None:
    folder = given()
    plain = weights_digest(load_pipeline(folder))
    file = folder / "model_index.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | extra))
    assert weights_digest(load_pipeline(folder)) == plain


@pytest.mark.parametrize(
    ("model", "part"), [("epsilon", "unet"), ("xl", "unet"), ("sd3", "transformer"), ("flux_fill", "vae")]
)
@pytest.mark.parametrize(("across", "side"), [(1, SIZE), (4, SIZE)])
def test_a_size_of_two_numbers(given: Callable[..., Path], model: str, part: str, across: int, side: int) -> None:
    folder = given(model)
    file = folder / part / "config.json"
    size = json.loads(file.read_text())["sample_size"]
    edit(file, sample_size=[size * across, size // across])
    loaded = load_pipeline(folder)
    assert native_size(loaded) == side
    images, masks = np.zeros((1, SIZE, SIZE, 3), np.uint8), np.ones((1, SIZE, SIZE), np.uint8)
    expected = Inpainter(random_model(model), SamplingConfig(steps=2), "cpu").sample(images, masks, [1])
    np.testing.assert_array_equal(
        Inpainter(loaded, SamplingConfig(steps=2), "cpu").sample(images, masks, [1]), expected
    )


def test_paths_that_are_no_checkpoint(given: Callable[..., Path], tmp_path: Path) -> None:
    folder = given()
    assert "is one part of a checkpoint; give the folder " + str(folder) in said(folder / "unet")
    assert f"is one file of a checkpoint; give the folder {folder}" in said(folder / UNET)
    assert f"is one file of a checkpoint; give the folder {folder}" in said(folder / "model_index.json")
    assert f"give the folder {folder}" in said(tmp_path)
    nothing = tmp_path / "nothing"
    assert "model_index.json: is missing" in said(nothing)
    nothing.mkdir()
    assert "the folder is empty" in said(nothing)
    (nothing / "notes.txt").write_text("dear diary")
    assert "model_index.json: is missing; give a folder" in said(nothing)
    assert "is a file; give a folder" in said(nothing / "notes.txt")
    alone = Path(shutil.copytree(folder / "unet", nothing / "unet"))
    assert "is a UNet2DConditionModel alone" in said(alone)
    hub = tmp_path / "hub/models--a--b/snapshots/0123"
    shutil.copytree(folder, hub)
    assert f"give the folder {hub}" in said(hub.parents[1])


@pytest.mark.parametrize("name", ["pytorch_lora_weights.safetensors", "adapter_config.json", "style_lora.safetensors"])
def test_an_adapter_is_no_checkpoint(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("{}")
    assert "is a LoRA adapter and no checkpoint; merge it into its base" in said(tmp_path)


SINGLE = {
    "model.diffusion_model.input_blocks.0.0.weight": (4, 9, 3, 3),
    "model.diffusion_model.input_blocks.2.1.transformer_blocks.0.attn2.to_k.weight": (4, 768),
}


@pytest.mark.parametrize(
    ("shapes", "message"),
    [
        (SINGLE, "StableDiffusionInpaintPipeline.from_single_file"),
        (
            SINGLE | {"conditioner.embedders.1.model.transformer.resblocks.9.mlp.c_proj.bias": (4,)},
            "StableDiffusionXLInpaintPipeline.from_single_file",
        ),
        (
            SINGLE | {"model.diffusion_model.input_blocks.0.0.weight": (4, 4, 3, 3)},
            "takes 4 input channels instead of 9",
        ),
        ({"lora_unet_up_blocks.lora_down.weight": (4, 4)}, "is a LoRA adapter and no checkpoint"),
        ({"something": (1,)}, "is a single file; make a folder of it once, where there is a network"),
    ],
)
def test_a_single_file(tmp_path: Path, shapes: dict[str, tuple[int, ...]], message: str) -> None:
    file = tmp_path / "mine.safetensors"
    save_file({name: torch.zeros(shape) for name, shape in shapes.items()}, file)
    assert message in said(file)
    with pytest.raises(PrefPaintError):
        load_pipeline(str(file))
    # A folder with nothing else is the same.
    with pytest.raises(PrefPaintError) as caught:
        load_pipeline(tmp_path)
    assert str(file) in str(caught.value)


@pytest.mark.parametrize("name", ["mine.ckpt", "mine.bin", "mine.pt"])
def test_a_single_pickled_file(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"\x80\x02}.")
    assert "is a single file; make a folder of it once" in said(tmp_path / name)


def test_a_single_file_that_is_damaged_or_a_pointer(tmp_path: Path) -> None:
    file = tmp_path / "mine.safetensors"
    file.write_bytes(b"no weights")
    assert "is damaged" in said(file)
    file.write_bytes(b"version https://git-lfs.github.com/spec/v1\n")
    assert "is a pointer of Git LFS" in said(file)


@pytest.mark.parametrize("part", ["unet", "vae", "text_encoder", "tokenizer", "scheduler"])
def test_a_missing_folder(given: Callable[..., Path], part: str) -> None:
    folder = given()
    shutil.rmtree(folder / part)
    assert f"{folder / part}: its configuration file is missing" in said(folder)


@pytest.mark.parametrize("file", ["unet/config.json", "vae/config.json", SCHEDULER, "text_encoder/config.json"])
@pytest.mark.parametrize("content", ["", "{", "[1]", "\x00"])
def test_a_damaged_configuration(given: Callable[..., Path], file: str, content: str) -> None:
    folder = given()
    (folder / file).write_text(content)
    assert f"{folder / file}: is damaged" in said(folder)
