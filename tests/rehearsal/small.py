"""The rehearsal's models with the numbers of a toy."""

from dataclasses import replace

from prefpaint.rehearsal.architectures import (
    AESTHETIC,
    BLIP,
    CLIP_B_32,
    DEPTH_SMALL,
    FLUX_FILL,
    SD15,
    SDXL,
    VIT_B_16,
    Base,
    ImageRewardSizes,
    Models,
    Part,
)

SIDE, WIDTH = 32, 8
TOWER = {"hidden_size": WIDTH, "intermediate_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2}


def _base(base: Base, network: str, **settings: object) -> Base:
    vae = base.parts["vae"].with_settings(
        block_out_channels=(4, 4, 4, 4), layers_per_block=1, norm_num_groups=2, sample_size=SIDE
    )
    parts = {name: _text(part) for name, part in base.parts.items()}
    return replace(base, size=SIDE, parts={**parts, "vae": vae, network: base.parts[network].with_settings(**settings)})


def _text(part: Part) -> Part:
    if part.kind == "T5EncoderModel":
        return part.with_settings(d_model=WIDTH, d_kv=4, d_ff=16, num_layers=1, num_heads=2)
    return part.with_settings(**TOWER, projection_dim=WIDTH) if part.kind.startswith("CLIP") else part


UNET = {"sample_size": SIDE // 8, "layers_per_block": 1, "norm_num_groups": 4}
SMALL = {
    "sd15": _base(
        SD15, "unet", **UNET, block_out_channels=(8, 8, 8, 8), cross_attention_dim=WIDTH, attention_head_dim=2
    ),
    "sdxl": _base(
        SDXL,
        "unet",
        **UNET,
        block_out_channels=(8, 8, 16),
        attention_head_dim=(1, 2, 2),
        cross_attention_dim=2 * WIDTH,
        addition_time_embed_dim=8,
        projection_class_embeddings_input_dim=6 * 8 + WIDTH,
    ),
    "flux_fill": replace(
        _base(
            FLUX_FILL,
            "transformer",
            num_layers=1,
            num_single_layers=1,
            attention_head_dim=16,
            num_attention_heads=2,
            joint_attention_dim=WIDTH,
            pooled_projection_dim=WIDTH,
            axes_dims_rope=(4, 6, 6),
        ),
    ),
}


def small_models(base: str = "sd15") -> Models:
    """Every checkpoint of a rehearsal."""
    vision = {**TOWER, "image_size": SIDE, "patch_size": 8}
    text = {**TOWER, "max_position_embeddings": 64, "layer_norm_eps": 1e-12}
    return Models(
        base=SMALL[base],
        clip=CLIP_B_32.with_settings(
            text_config={**CLIP_B_32.settings["text_config"], **TOWER, "projection_dim": WIDTH},
            vision_config={**vision, "projection_dim": WIDTH},
            projection_dim=WIDTH,
        ),
        depth=DEPTH_SMALL.with_settings(
            backbone_config={
                **DEPTH_SMALL.settings["backbone_config"],
                **{"hidden_size": WIDTH, "num_attention_heads": 2, "num_hidden_layers": 4, "image_size": 28},
                "out_indices": [1, 2, 3, 4],
            },
            reassemble_hidden_size=WIDTH,
            neck_hidden_sizes=[4, 4, 4, 4],
            fusion_hidden_size=4,
        ),
        blip=BLIP.with_settings(
            text_config={**BLIP.settings["text_config"], **text, "encoder_hidden_size": WIDTH},
            vision_config=vision,
            projection_dim=WIDTH,
            image_text_hidden_size=WIDTH,
        ),
        classifier=VIT_B_16.with_settings(**vision, num_labels=10),
        aesthetic=AESTHETIC.with_settings(**vision),
        imagereward=ImageRewardSizes(
            # Heads of ImageReward's image tower have 64 channels, whatever its width.
            vision={**vision, "hidden_size": 64, "num_attention_heads": 1},
            text={**text, "vocab_size": BLIP.settings["text_config"]["vocab_size"]},
            head=(WIDTH, 4, 4, 4, 2, 1),
        ),
    )
