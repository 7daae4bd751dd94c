"""Pretrained weights: files with the published names and shapes, made here, fill the network and nothing else does."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from SyntheXLib.errors import SyntheXError
from SyntheXLib.networks.model_file import ModelDescription, build_network, save_model
from SyntheXLib.networks.pretrained import load_pretrained, resize_positions
from SyntheXLib.networks.pretrained_names import google_name, timm_name
from SyntheXLib.networks.safetensors_file import read_safetensors
from SyntheXLib.networks.transunet import TransUNet, TransUNetSize
from SyntheXLib.tasks.task import load_task

# R50+ViT-B_16 in small: standardised filters, three channels, several units a block.
TINY = TransUNetSize(3, 8, (1, 2, 2), 4, True, 24, 2, 3, 48, 0.0, 32, (32, 16, 8, 8), 2, False)
HIDDEN, HEADS = TINY.hidden, TINY.heads


def tiny(seed: int = 0, side: int = 64, classes: int = 3, landmarks: int = 2, size: TransUNetSize = TINY) -> TransUNet:
    torch.manual_seed(seed)
    return TransUNet(size, classes, landmarks, (side, side)).eval()


def random_tensor(generator: torch.Generator, *shape: int) -> Tensor:
    return torch.randn(*shape, generator=generator)


def google_arrays(side: int = 4, channels: int = 3) -> dict[str, np.ndarray]:
    """The keys and shapes that the published npz has, for the sizes of `TINY`; written from the description, not from our loader."""
    random = np.random.default_rng(0)
    arrays: dict[str, np.ndarray] = {}

    def put(key: str, *shape: int) -> None:
        arrays[key] = random.standard_normal(shape).astype(np.float32)

    def norm(key: str, width: int, dimensions: int = 1) -> None:
        for part in ("scale", "bias"):
            put(f"{key}/{part}", *(1,) * (dimensions - 1), width)

    put("conv_root/kernel", 7, 7, channels, 8)
    norm("gn_root", 8, 4)
    inputs = 8
    for block, units in enumerate(TINY.blocks, 1):
        outputs = 8 * 4 * 2 ** (block - 1)
        for unit in range(1, units + 1):
            root = f"block{block}/unit{unit}"
            put(f"{root}/conv1/kernel", 1, 1, inputs, outputs // 4)
            put(f"{root}/conv2/kernel", 3, 3, outputs // 4, outputs // 4)
            put(f"{root}/conv3/kernel", 1, 1, outputs // 4, outputs)
            for n, width in enumerate((outputs // 4, outputs // 4, outputs), 1):
                norm(f"{root}/gn{n}", width, 4)
            if unit == 1:
                put(f"{root}/conv_proj/kernel", 1, 1, inputs, outputs)
                norm(f"{root}/gn_proj", outputs, 4)
            inputs = outputs
    put("embedding/kernel", 1, 1, inputs, HIDDEN)
    put("embedding/bias", HIDDEN)
    put("Transformer/posembed_input/pos_embedding", 1, 1 + side * side, HIDDEN)
    for layer in range(TINY.layers):
        root = f"Transformer/encoderblock_{layer}"
        norm(f"{root}/LayerNorm_0", HIDDEN)
        norm(f"{root}/LayerNorm_2", HIDDEN)
        attention = f"{root}/MultiHeadDotProductAttention_1"
        for part in ("query", "key", "value"):
            put(f"{attention}/{part}/kernel", HIDDEN, HEADS, HIDDEN // HEADS)
            put(f"{attention}/{part}/bias", HEADS, HIDDEN // HEADS)
        put(f"{attention}/out/kernel", HEADS, HIDDEN // HEADS, HIDDEN)
        put(f"{attention}/out/bias", HIDDEN)
        put(f"{root}/MlpBlock_3/Dense_0/kernel", HIDDEN, TINY.feed_forward)
        put(f"{root}/MlpBlock_3/Dense_0/bias", TINY.feed_forward)
        put(f"{root}/MlpBlock_3/Dense_1/kernel", TINY.feed_forward, HIDDEN)
        put(f"{root}/MlpBlock_3/Dense_1/bias", HIDDEN)
    norm("Transformer/encoder_norm", HIDDEN)
    put("cls", 1, 1, HIDDEN)
    put("head/kernel", HIDDEN, 10)
    put("head/bias", 10)
    put("pre_logits/kernel", HIDDEN, HIDDEN)
    return arrays


def timm_tensors(arrays: dict[str, np.ndarray]) -> dict[str, Tensor]:
    """The same weights under timm's names."""
    found: dict[str, Tensor] = {}
    for key, array in arrays.items():
        if not key.startswith(("conv", "gn", "block", "embedding", "Transformer")):
            continue  # the classifier
        tensor, parts = torch.from_numpy(array), key.split("/")
        last = {"kernel": "weight", "scale": "weight", "bias": "bias"}.get(parts[-1], "")
        if tensor.ndim == 4 and parts[-1] == "kernel":
            tensor = tensor.permute(3, 2, 0, 1)
        if parts[0] == "conv_root":
            found["patch_embed.backbone.stem.conv.weight"] = tensor
        elif parts[0] == "gn_root":
            found[f"patch_embed.backbone.stem.norm.{last}"] = tensor.flatten()
        elif parts[0].startswith("block"):
            name = {"conv_proj": "downsample.conv", "gn_proj": "downsample.norm"}.get(parts[2], parts[2].replace("gn", "norm"))
            root = f"patch_embed.backbone.stages.{int(parts[0][5:]) - 1}.blocks.{int(parts[1][4:]) - 1}"
            found[f"{root}.{name}.{last}"] = tensor if "conv" in name else tensor.flatten()
        elif parts[0] == "embedding":
            found[f"patch_embed.proj.{last}"] = tensor
        elif parts[-1] == "pos_embedding":
            found["pos_embed"] = tensor
        elif parts[1] == "encoder_norm":
            found[f"norm.{last}"] = tensor
        elif parts[1].startswith("encoderblock") and "Attention" not in key:
            middle = {"LayerNorm_0": "norm1", "LayerNorm_2": "norm2", "Dense_0": "mlp.fc1", "Dense_1": "mlp.fc2"}[parts[-2]]
            found[f"blocks.{parts[1][13:]}.{middle}.{last}"] = tensor.T if parts[-1] == "kernel" else tensor
    for layer in range(TINY.layers):
        root = f"Transformer/encoderblock_{layer}/MultiHeadDotProductAttention_1"
        kernels = [torch.from_numpy(arrays[f"{root}/{part}/kernel"]).reshape(HIDDEN, HIDDEN).T for part in ("query", "key", "value")]
        biases = [torch.from_numpy(arrays[f"{root}/{part}/bias"]).flatten() for part in ("query", "key", "value")]
        found[f"blocks.{layer}.attn.qkv.weight"], found[f"blocks.{layer}.attn.qkv.bias"] = torch.cat(kernels), torch.cat(biases)
        found[f"blocks.{layer}.attn.proj.weight"] = torch.from_numpy(arrays[f"{root}/out/kernel"]).reshape(HIDDEN, HIDDEN).T
        found[f"blocks.{layer}.attn.proj.bias"] = torch.from_numpy(arrays[f"{root}/out/bias"])
    return {**found, "cls_token": torch.zeros(1, 1, HIDDEN), "head.weight": torch.zeros(10, HIDDEN), "head.bias": torch.zeros(10)}


def write_safetensors(path: Path, tensors: dict[str, Tensor], kind: str = "F32") -> Path:
    """The format as it is published: length, JSON, bytes."""
    header: dict[str, object] = {"__metadata__": {"format": "pt"}}
    body = b""
    for name, tensor in tensors.items():
        data = tensor.contiguous().to({"F32": torch.float32, "F16": torch.float16}[kind]).numpy().tobytes()
        header[name] = {"dtype": kind, "shape": list(tensor.shape), "data_offsets": [len(body), len(body) + len(data)]}
        body += data
    text = json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + body)
    return path


def test_every_weight_of_the_transformer_has_a_name_at_google_and_timm() -> None:
    with torch.device("meta"):
        full = TransUNet("full", 7, 14, (384, 384))
    names = [name for name in full.state_dict() if name.startswith("transformer.")]
    assert len({google_name(name) for name in names}) == len(names)
    # query, key and value are one matrix and one bias in each of the twelve layers
    assert len({timm_name(name) for name in names}) == len(names) - 12 * 4
    assert google_name("transformer.embeddings.hybrid_model.body.block2.unit1.gn_proj.weight") == "block2/unit1/gn_proj/scale"
    assert (
        timm_name("transformer.embeddings.hybrid_model.body.block3.unit9.gn2.bias") == "patch_embed.backbone.stages.2.blocks.8.norm2.bias"
    )
    assert google_name("decoder.conv_more.0.weight") is None


def test_googles_npz_goes_where_it_belongs(tmp_path: Path) -> None:
    arrays = google_arrays()
    np.savez(tmp_path / "R50+ViT-B_16.npz", **arrays)
    network, before = tiny(), tiny().state_dict()
    report = load_pretrained(network, tmp_path / "R50+ViT-B_16.npz")
    weights = network.state_dict()
    assert {name.split(".")[0] for name in report.random} == {"decoder", "segmentation_head", "lands_1x1"}
    assert report.sentence == f"starting from {report.loaded} weights (google), at random: decoder, lands_1x1, segmentation_head"
    assert all(torch.equal(weights[name], before[name]) for name in report.random)
    # A linear layer of flax is x @ kernel: the same numbers must come out of ours.
    generator = torch.Generator().manual_seed(1)
    tokens = random_tensor(generator, 2, 5, HIDDEN)
    root = "Transformer/encoderblock_1/MultiHeadDotProductAttention_1"
    layer = network.transformer.encoder.layer[1]
    query = np.einsum("bnd,dhk->bnhk", tokens.numpy(), arrays[f"{root}/query/kernel"]) + arrays[f"{root}/query/bias"]
    np.testing.assert_allclose(layer.attn.query(tokens).detach().numpy(), query.reshape(2, 5, HIDDEN), rtol=1e-4, atol=1e-4)
    heads = random_tensor(generator, 2, 5, HEADS, HIDDEN // HEADS)
    out = np.einsum("bnhk,hkd->bnd", heads.numpy(), arrays[f"{root}/out/kernel"]) + arrays[f"{root}/out/bias"]
    np.testing.assert_allclose(layer.attn.out(heads.flatten(2)).detach().numpy(), out, rtol=1e-4, atol=1e-4)
    stem = weights["transformer.embeddings.hybrid_model.root.conv.weight"]
    assert stem[5, 2, 3, 4] == arrays["conv_root/kernel"][3, 4, 2, 5]
    np.testing.assert_array_equal(
        weights["transformer.embeddings.position_embeddings"][0], arrays["Transformer/posembed_input/pos_embedding"][0, 1:]
    )
    np.testing.assert_array_equal(
        weights["transformer.encoder.layer.0.ffn_norm.bias"], arrays["Transformer/encoderblock_0/LayerNorm_2/bias"]
    )


@pytest.mark.parametrize("kind", ["F32", "F16"])
def test_timms_safetensors_give_the_network_that_googles_npz_gives(tmp_path: Path, kind: str) -> None:
    arrays = google_arrays()
    np.savez(tmp_path / "google.npz", **arrays)
    write_safetensors(tmp_path / "timm.safetensors", timm_tensors(arrays), kind)
    ours, theirs = tiny(), tiny()
    load_pretrained(ours, tmp_path / "google.npz")
    assert load_pretrained(theirs, tmp_path / "timm.safetensors").kind == "timm"
    image = torch.randn(1, 1, 64, 64, generator=torch.Generator().manual_seed(2))
    with torch.inference_mode():
        torch.testing.assert_close(ours(image), theirs(image), rtol=1e-6 if kind == "F32" else 0.2, atol=1e-5 if kind == "F32" else 0.2)


def test_the_stem_is_summed_for_a_network_of_one_channel(tmp_path: Path) -> None:
    arrays = google_arrays()
    np.savez(tmp_path / "google.npz", **arrays)
    plain = replace(TINY, standardized=False)
    three, one = tiny(size=plain), tiny(size=replace(plain, inputs=1))
    load_pretrained(three, tmp_path / "google.npz")
    load_pretrained(one, tmp_path / "google.npz")
    one.load_state_dict({n: w for n, w in three.state_dict().items() if not n.startswith("transformer.")}, strict=False)
    image = torch.randn(1, 1, 64, 64, generator=torch.Generator().manual_seed(3))
    with torch.inference_mode():
        torch.testing.assert_close(one(image), three(image), rtol=1e-3, atol=1e-3)


def test_the_position_table_is_resized_linearly_without_its_class_token() -> None:
    rows, columns = torch.meshgrid(torch.arange(4.0), torch.arange(4.0), indexing="ij")
    grid = (rows + 10 * columns).reshape(1, 16, 1)
    table = torch.cat([torch.full((1, 1, 1), 99.0), grid], dim=1)
    torch.testing.assert_close(resize_positions(table, (4, 4), "x"), grid)
    wide = resize_positions(table, (8, 8), "x").reshape(8, 8)
    inner = (torch.arange(3, 5) + 0.5) / 2 - 0.5
    torch.testing.assert_close(wide[3:5, 3:5], inner[:, None] + 10 * inner[None])
    # An image that is not square: rows and columns each by their own factor.
    oblong = resize_positions(table, (4, 8), "x").reshape(4, 8)
    torch.testing.assert_close(oblong[:, 3:5], rows[:, :2] + 10 * inner[None])
    torch.testing.assert_close(resize_positions(grid, (2, 8), "x"), grid)  # its own, not a square one
    with pytest.raises(SyntheXError, match="of a square grid or of 4 x 4 tokens, found 14"):
        resize_positions(torch.zeros(1, 15, 1), (4, 4), "x")


@pytest.mark.parametrize("prefix", ["", "module."])
def test_a_released_checkpoint_gives_equal_outputs(tmp_path: Path, prefix: str) -> None:
    source = tiny(seed=1)
    state = {prefix + name: tensor for name, tensor in source.state_dict().items()}
    torch.save({"epoch": 20, "model-state-dict": state, "loss": torch.tensor(0.5), "num-classes": 3}, tmp_path / "released.pt")
    network = tiny(seed=2)
    report = load_pretrained(network, tmp_path / "released.pt")
    assert (report.kind, report.loaded, report.random) == ("checkpoint", len(state), ())
    image = torch.randn(2, 1, 64, 64)
    with torch.inference_mode():
        torch.testing.assert_close(network(image), source(image), rtol=0, atol=0)


def test_heads_for_other_structures_stay_random_and_a_larger_image_resizes_the_table(tmp_path: Path) -> None:
    source = tiny(seed=1, classes=7, landmarks=14)
    torch.save({"model-state-dict": source.state_dict()}, tmp_path / "released.pt")
    network = tiny(side=96)
    report = load_pretrained(network, tmp_path / "released.pt")
    assert {name.split(".")[0] for name in report.random} == {"segmentation_head", "lands_1x1"}
    torch.testing.assert_close(network.decoder.state_dict(), source.decoder.state_dict(), rtol=0, atol=0)
    assert network.transformer.embeddings.position_embeddings.shape == (1, 36, HIDDEN)


def test_our_own_model_file_can_be_started_from(tmp_path: Path) -> None:
    description = ModelDescription("small", (64, 64), 1.0, load_task("hip").to_dict(), 2.0)
    torch.manual_seed(3)
    source = build_network(description)
    save_model(tmp_path / "model.pt", source, description)
    network = build_network(description)
    assert load_pretrained(network, tmp_path / "model.pt").random == ()
    torch.testing.assert_close(network.state_dict(), source.state_dict(), rtol=0, atol=0)


def test_missing_and_unexpected_weights_are_named_in_one_sentence(tmp_path: Path) -> None:
    arrays = google_arrays()
    del arrays["gn_root/scale"]
    arrays["block9/unit1/conv1/kernel"] = np.zeros((1, 1, 8, 8), np.float32)
    np.savez(tmp_path / "google.npz", **arrays)
    with pytest.raises(SyntheXError, match=r"1 missing \(gn_root/scale\) and 1 unexpected \(block9/unit1/conv1/kernel\)\.$"):
        load_pretrained(tiny(), tmp_path / "google.npz")
    state = tiny().state_dict()
    for name in [name for name in state if name.startswith("decoder.blocks.0.")]:
        del state[name]
    torch.save({"model-state-dict": state}, tmp_path / "cut.pt")
    with pytest.raises(SyntheXError, match=r"12 missing \(decoder\.blocks\.0\.conv1\.0\.weight, .* \.\.\.\)\.$"):
        load_pretrained(tiny(), tmp_path / "cut.pt")


def test_a_network_of_another_width_is_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "google.npz", **google_arrays())
    wide = replace(TINY, width=16, groups=4)
    with pytest.raises(SyntheXError, match=r"root.conv.weight' should have shape \(16, 3, 7, 7\), found \(8, 3, 7, 7\)"):
        load_pretrained(tiny(size=wide), tmp_path / "google.npz")


def test_files_that_hold_no_weights_are_refused(tmp_path: Path) -> None:
    with pytest.raises(SyntheXError, match="Cannot find the pretrained weights"):
        load_pretrained(tiny(), tmp_path / "none.npz")
    (tmp_path / "text.npz").write_text("no", encoding="utf-8")
    with pytest.raises(SyntheXError, match="no npz file"):
        load_pretrained(tiny(), tmp_path / "text.npz")
    np.savez(tmp_path / "objects.npz", x=np.array([{}], object))
    with pytest.raises(SyntheXError, match="plain arrays"):
        load_pretrained(tiny(), tmp_path / "objects.npz")
    torch.save({"epoch": 3}, tmp_path / "empty.pt")
    with pytest.raises(SyntheXError, match="holds no weights"):
        load_pretrained(tiny(), tmp_path / "empty.pt")
    whole = write_safetensors(tmp_path / "whole.safetensors", {"a": torch.ones(4)})
    whole.write_bytes(whole.read_bytes()[:-4])
    with pytest.raises(SyntheXError, match="is cut off: tensor 'a' ends at byte 16 of 12"):
        read_safetensors(whole)
    whole.write_bytes(b"PK")
    with pytest.raises(SyntheXError, match="no safetensors file"):
        read_safetensors(whole)


def test_vit_compatibility_computes_what_timm_computes() -> None:
    """SAME padding by hand: even sides take one pixel behind the image for 3x3, two before and three behind for 7x7."""
    torch.manual_seed(0)
    network = TransUNet(TINY, 3, 2, (64, 64), compatibility="vit").eval()
    resnet = network.transformer.embeddings.hybrid_model
    image = torch.randn(1, 3, 64, 64)

    def standard(weight: Tensor) -> Tensor:
        return (weight - weight.mean((1, 2, 3), keepdim=True)) / weight.var((1, 2, 3), keepdim=True, unbiased=False).add(1e-8).sqrt()

    with torch.inference_mode():
        padded = torch.nn.functional.pad(image, (2, 3, 2, 3))
        expected = torch.nn.functional.conv2d(padded, standard(resnet.root.conv.weight), stride=2)
        torch.testing.assert_close(resnet.root.conv(image), expected, rtol=1e-4, atol=1e-4)
        unit = resnet.body[1][0]
        assert (unit.gn_proj.num_groups, unit.gn_proj.eps, unit.gn1.eps) == (4, 1e-5, 1e-5)
        features = torch.randn(1, 16, 16, 16)
        expected = torch.nn.functional.conv2d(torch.nn.functional.pad(features, (0, 1, 0, 1)), standard(unit.conv2.weight), stride=2)
        torch.testing.assert_close(unit.conv2(features), expected, rtol=1e-4, atol=1e-4)
        # Everything lies on the quarter grid: no row of zeros in the skip.
        _, skips = resnet(image)
        assert [tuple(skip.shape[2:]) for skip in skips] == [(8, 8), (16, 16), (32, 32)]
        assert skips[1][..., -1, :].abs().sum() > 0
        _, released = tiny().transformer.embeddings.hybrid_model(image)
        assert released[1][..., -1, :].eq(0).all()


def test_both_compatibilities_have_the_same_weights() -> None:
    shapes = [
        {name: tensor.shape for name, tensor in TransUNet(TINY, 3, 2, (64, 64), compatibility=kind).state_dict().items()}
        for kind in ("transunet", "vit")
    ]
    assert shapes[0] == shapes[1]
    with pytest.raises(SyntheXError, match="compatibility' of the network must be one of transunet, vit, found 'keras'"):
        TransUNet(TINY, 3, 2, (64, 64), compatibility="keras")


@pytest.mark.slow
def test_the_full_network_computes_what_timm_computes(tmp_path: Path) -> None:
    pytest.importorskip("torchvision")  # without it timm cannot be imported
    timm = pytest.importorskip("timm")
    torch.manual_seed(0)
    theirs = timm.create_model("vit_base_r50_s16_224", pretrained=False, num_classes=0).eval()
    for parameter in theirs.parameters():
        torch.nn.init.normal_(parameter, std=0.05)
    ours = TransUNet("full", 7, 14, (224, 224), compatibility="vit").eval()
    load_pretrained(ours, write_safetensors(tmp_path / "timm.safetensors", theirs.state_dict()))
    image = torch.randn(1, 3, 224, 224)
    with torch.inference_mode():
        features, _ = ours.transformer.embeddings.hybrid_model(image)
        tokens = ours.transformer.embeddings.patch_embeddings(features).flatten(2).transpose(1, 2)
        expected = theirs.patch_embed(image)
        assert ((tokens - expected).norm() / expected.norm()).item() < 1e-3
        torch.testing.assert_close(ours.transformer.encoder(expected), theirs.norm(theirs.blocks(expected)), rtol=1e-4, atol=1e-4)
