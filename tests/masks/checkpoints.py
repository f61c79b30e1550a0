"""Small models of the real classes, with random weights, saved as people publish theirs."""

from pathlib import Path

import torch
import transformers

SIDE = 32
WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "[DEC]", "[ENC]", "a", "dog", "cat", "roof", "of", "the", "sea"]
TOWER = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
VISION = {**TOWER, "image_size": SIDE, "patch_size": 8}
SIZE = {"height": SIDE, "width": SIDE}


def tokenizer() -> transformers.BertTokenizerFast:
    words = {word: number for number, word in enumerate(WORDS)}
    special = {"bos_token": "[DEC]", "additional_special_tokens": ["[ENC]"]}
    return transformers.BertTokenizerFast(vocab=words, model_max_length=64, **special)


def blip_config() -> transformers.BlipConfig:
    ends = {"bos_token_id": 5, "sep_token_id": 3, "eos_token_id": 3, "pad_token_id": 0}
    return transformers.BlipConfig(
        text_config={**TOWER, **ends, "vocab_size": len(WORDS), "encoder_hidden_size": 16},
        vision_config=VISION,
        projection_dim=8,
        image_text_hidden_size=8,
    )


def _lively(model: torch.nn.Module, seed: int) -> torch.nn.Module:
    """With weights so large that different pictures have different words."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for weight in model.parameters():
            if weight.ndim > 1:
                weight.copy_(torch.randn(weight.shape, generator=generator))
    return model


def write_blip(folder: Path, seed: int = 0) -> Path:
    """A BLIP that captions."""
    _lively(transformers.BlipForConditionalGeneration(blip_config()), seed).save_pretrained(folder)
    transformers.BlipProcessor(transformers.BlipImageProcessor(size=SIZE), tokenizer()).save_pretrained(folder)
    return folder


def write_blip_retrieval(folder: Path) -> Path:
    """A BLIP that tells whether a text belongs to a picture, and has no decoder."""
    transformers.BlipForImageTextRetrieval(blip_config()).save_pretrained(folder)
    transformers.BlipProcessor(transformers.BlipImageProcessor(size=SIZE), tokenizer()).save_pretrained(folder)
    return folder


def write_vit_gpt2(folder: Path) -> Path:
    """A ViT whose pictures a GPT-2 describes."""
    words = {"vocab_size": len(WORDS), "n_embd": 16, "n_layer": 1, "n_head": 2, "n_positions": 64}
    ends = {"bos_token_id": 5, "eos_token_id": 3, "pad_token_id": 0}
    decoder = transformers.GPT2Config(**words, **ends, is_decoder=True, add_cross_attention=True)
    config = transformers.VisionEncoderDecoderConfig.from_encoder_decoder_configs(
        transformers.ViTConfig(**VISION), decoder
    )
    config.decoder_start_token_id, config.pad_token_id, config.eos_token_id = 5, 0, 3
    model = _lively(transformers.VisionEncoderDecoderModel(config=config), 0)
    model.generation_config.update(decoder_start_token_id=5, pad_token_id=0, eos_token_id=3)
    model.save_pretrained(folder)
    transformers.ViTImageProcessor(size=SIZE).save_pretrained(folder)
    tokenizer().save_pretrained(folder)
    return folder


def write_git(folder: Path) -> Path:
    """A GIT whose every caption is empty: the end of a text is its likeliest word."""
    config = transformers.GitConfig(
        vision_config=VISION, **TOWER, vocab_size=len(WORDS), bos_token_id=5, eos_token_id=3, pad_token_id=0
    )
    model = transformers.GitForCausalLM(config)
    with torch.no_grad():
        model.output.bias[3] = 100
    model.save_pretrained(folder)
    images = transformers.CLIPImageProcessor(size={"shortest_edge": SIDE}, crop_size=SIZE)
    transformers.GitProcessor(images, tokenizer()).save_pretrained(folder)
    return folder


def write_classifier(folder: Path) -> Path:
    """A ViT that classifies."""
    transformers.ViTForImageClassification(transformers.ViTConfig(**VISION)).save_pretrained(folder)
    transformers.ViTImageProcessor(size=SIZE).save_pretrained(folder)
    return folder


def mask2former_config() -> transformers.Mask2FormerConfig:
    stages = ["stage1", "stage2", "stage3", "stage4"]
    backbone = transformers.SwinConfig(
        image_size=64,
        patch_size=4,
        embed_dim=8,
        depths=[1] * 4,
        num_heads=[1, 1, 2, 2],
        window_size=2,
        out_features=stages,
    )
    widths = dict.fromkeys(("hidden_dim", "feature_size", "mask_feature_size"), 32)
    depths = {"encoder_layers": 1, "decoder_layers": 2, "encoder_feedforward_dim": 32, "dim_feedforward": 32}
    return transformers.Mask2FormerConfig(
        backbone_config=backbone, **widths, **depths, num_attention_heads=2, num_queries=6, num_labels=3
    )


def write_mask2former(folder: Path, finds: bool = True) -> Path:
    """A Mask2Former that is sure of its segments, or finds none."""
    torch.manual_seed(3)
    model = transformers.Mask2FormerForUniversalSegmentation(mask2former_config())
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for weight in model.parameters():
            if weight.ndim > 1:
                weight.copy_(0.3 * torch.randn(weight.shape, generator=generator))
        model.class_predictor.weight.mul_(5)
        # The last class is none.
        model.class_predictor.bias[-1] = -1000 if finds else 1000
    model.save_pretrained(folder)
    _write_segments_processor(folder)
    return folder


def write_mask2former_without_heads(folder: Path) -> Path:
    """What segments are made of, and nothing that makes them."""
    transformers.Mask2FormerModel(mask2former_config()).save_pretrained(folder)
    _write_segments_processor(folder)
    return folder


def _write_segments_processor(folder: Path) -> None:
    size = {"height": 64, "width": 64}
    transformers.Mask2FormerImageProcessor(size=size, ignore_index=255, num_labels=3).save_pretrained(folder)
