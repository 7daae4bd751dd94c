"""Our names of the weights of ResNet and transformer, and those of Google and timm."""

from __future__ import annotations

import re

# What the files hold beyond, and what has no place in TransUNet.
IGNORED = ("head", "cls", "pre_logits", "fc_norm", "opt/", "step")

_RESNET = "transformer.embeddings.hybrid_model."
_RULES_GOOGLE = (
    (rf"{re.escape(_RESNET)}root\.conv\.weight", r"conv_root/kernel"),
    (rf"{re.escape(_RESNET)}root\.gn\.(\w+)", r"gn_root/\1"),
    (rf"{re.escape(_RESNET)}body\.(\w+)\.(\w+)\.downsample\.weight", r"\1/\2/conv_proj/kernel"),
    (rf"{re.escape(_RESNET)}body\.(\w+)\.(\w+)\.(conv\d)\.weight", r"\1/\2/\3/kernel"),
    (rf"{re.escape(_RESNET)}body\.(\w+)\.(\w+)\.(gn\w+)\.(\w+)", r"\1/\2/\3/\4"),
    (r"transformer\.embeddings\.patch_embeddings\.(\w+)", r"embedding/\1"),
    (r"transformer\.embeddings\.position_embeddings", r"Transformer/posembed_input/pos_embedding"),
    (r"transformer\.encoder\.encoder_norm\.(\w+)", r"Transformer/encoder_norm/\1"),
    (r"transformer\.encoder\.layer\.(\d+)\.attention_norm\.(\w+)", r"Transformer/encoderblock_\1/LayerNorm_0/\2"),
    (r"transformer\.encoder\.layer\.(\d+)\.ffn_norm\.(\w+)", r"Transformer/encoderblock_\1/LayerNorm_2/\2"),
    (r"transformer\.encoder\.layer\.(\d+)\.ffn\.fc1\.(\w+)", r"Transformer/encoderblock_\1/MlpBlock_3/Dense_0/\2"),
    (r"transformer\.encoder\.layer\.(\d+)\.ffn\.fc2\.(\w+)", r"Transformer/encoderblock_\1/MlpBlock_3/Dense_1/\2"),
    (r"transformer\.encoder\.layer\.(\d+)\.attn\.(\w+)\.(\w+)", r"Transformer/encoderblock_\1/MultiHeadDotProductAttention_1/\2/\3"),
)
_NORM = re.compile(r"(gn\w*|LayerNorm_\d|encoder_norm)/weight$")
_RULES_TIMM = (
    (rf"{re.escape(_RESNET)}root\.conv\.weight", r"patch_embed.backbone.stem.conv.weight"),
    (rf"{re.escape(_RESNET)}root\.gn\.(\w+)", r"patch_embed.backbone.stem.norm.\1"),
    (r"transformer\.embeddings\.patch_embeddings\.(\w+)", r"patch_embed.proj.\1"),
    (r"transformer\.embeddings\.position_embeddings", r"pos_embed"),
    (r"transformer\.encoder\.encoder_norm\.(\w+)", r"norm.\1"),
    (r"transformer\.encoder\.layer\.(\d+)\.attention_norm\.(\w+)", r"blocks.\1.norm1.\2"),
    (r"transformer\.encoder\.layer\.(\d+)\.ffn_norm\.(\w+)", r"blocks.\1.norm2.\2"),
    (r"transformer\.encoder\.layer\.(\d+)\.ffn\.(fc\d)\.(\w+)", r"blocks.\1.mlp.\2.\3"),
    (r"transformer\.encoder\.layer\.(\d+)\.attn\.out\.(\w+)", r"blocks.\1.attn.proj.\2"),
    (r"transformer\.encoder\.layer\.(\d+)\.attn\.(?:query|key|value)\.(\w+)", r"blocks.\1.attn.qkv.\2"),
)
_UNIT = re.compile(rf"{re.escape(_RESNET)}body\.block(\d+)\.unit(\d+)\.(\w+)\.(\w+)")


def google_name(ours: str) -> str | None:
    """Key in Google's npz; None where it has none."""
    found = _first(_RULES_GOOGLE, ours)
    if found is None:
        return None
    found = _NORM.sub(r"\1/scale", found)
    return found.removesuffix("weight") + "kernel" if found.endswith("/weight") else found


def timm_name(ours: str) -> str | None:
    """Key in timm's safetensors, where query, key and value share one; None where it has none. Its stages and blocks count from 0."""
    unit = _UNIT.fullmatch(ours)
    if unit is None:
        return _first(_RULES_TIMM, ours)
    block, number, part, kind = unit.groups()
    part = {"downsample": "downsample.conv", "gn_proj": "downsample.norm"}.get(part, part.replace("gn", "norm"))
    return f"patch_embed.backbone.stages.{int(block) - 1}.blocks.{int(number) - 1}.{part}.{kind}"


def _first(rules: tuple[tuple[str, str], ...], name: str) -> str | None:
    for pattern, replacement in rules:
        if re.fullmatch(pattern, name):
            return re.sub(pattern, replacement, name)
    return None
