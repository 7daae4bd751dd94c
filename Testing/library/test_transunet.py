"""TransUNet: its size, its tree of names, and images of other sizes than it was made for."""

import pytest
import torch

from SyntheXLib.errors import SyntheXError
from SyntheXLib.networks.normalization import forward_any_size, log_image, normalize, pad_to_patches
from SyntheXLib.networks.resnet import StandardizedConv2d
from SyntheXLib.networks.transunet import SIZES, NetworkOutput, TransUNet


def small(landmarks: int = 3, image_size: tuple[int, int] = (64, 64)) -> TransUNet:
    torch.manual_seed(0)
    return TransUNet("small", 4, landmarks, image_size).eval()


def parameter_count(module: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


@pytest.fixture(scope="module")
def full() -> TransUNet:
    with torch.device("meta"):  # shapes alone: quick, and no 400 MB
        return TransUNet("full", 7, 14, (384, 384))


def test_the_full_network_has_the_parameter_counts_of_the_released_one(full: TransUNet) -> None:
    # reference/training.md 1.1, measured on the released code: 105.57 M in all.
    embeddings = full.transformer.embeddings
    counts = {
        "all": parameter_count(full),
        "resnet": parameter_count(embeddings.hybrid_model),
        "patch": parameter_count(embeddings.patch_embeddings),
        "conv_more": parameter_count(full.decoder.conv_more),
        "decoder blocks": parameter_count(full.decoder.blocks),
    }
    expected = {"all": 105.57, "resnet": 11.90, "patch": 0.79, "conv_more": 3.54, "decoder blocks": 3.85}
    assert {name: count / 1e6 for name, count in counts.items()} == pytest.approx(expected, abs=0.0055)


@pytest.mark.parametrize(("side", "millions"), [(224, 105.28), (512, 105.91)])
def test_the_position_table_alone_depends_on_the_image_size(side: int, millions: float) -> None:
    with torch.device("meta"):
        network = TransUNet("full", 7, 14, (side, side))
    assert round(parameter_count(network) / 1e6, 2) == millions


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("transformer.embeddings.hybrid_model.root.conv.weight", (64, 3, 7, 7)),
        ("transformer.embeddings.hybrid_model.root.gn.weight", (64,)),
        ("transformer.embeddings.hybrid_model.body.block1.unit1.downsample.weight", (256, 64, 1, 1)),
        ("transformer.embeddings.hybrid_model.body.block1.unit1.gn_proj.bias", (256,)),
        ("transformer.embeddings.hybrid_model.body.block3.unit9.conv2.weight", (256, 256, 3, 3)),
        ("transformer.embeddings.patch_embeddings.weight", (768, 1024, 1, 1)),
        ("transformer.embeddings.position_embeddings", (1, 576, 768)),
        ("transformer.encoder.layer.11.attn.query.weight", (768, 768)),
        ("transformer.encoder.layer.11.attn.out.bias", (768,)),
        ("transformer.encoder.layer.0.attention_norm.weight", (768,)),
        ("transformer.encoder.layer.0.ffn_norm.weight", (768,)),
        ("transformer.encoder.layer.0.ffn.fc1.weight", (3072, 768)),
        ("transformer.encoder.encoder_norm.bias", (768,)),
        ("decoder.conv_more.0.weight", (512, 768, 3, 3)),
        ("decoder.conv_more.1.running_mean", (512,)),
        ("decoder.blocks.0.conv1.0.weight", (256, 1024, 3, 3)),
        ("decoder.blocks.3.conv2.1.weight", (16,)),
        ("segmentation_head.0.weight", (7, 16, 3, 3)),
        ("segmentation_head.0.bias", (7,)),
        ("lands_1x1.0.weight", (21, 23, 1, 1)),
        ("lands_1x1.1.weight", (14, 21, 1, 1)),
    ],
)
def test_weights_have_the_names_and_shapes_of_the_released_checkpoints(full: TransUNet, name: str, shape: tuple[int, ...]) -> None:
    assert tuple(full.state_dict()[name].shape) == shape


def test_the_landmark_head_is_linear_in_decoder_features_and_logits() -> None:
    network = small()
    seen = {}
    network.decoder.register_forward_hook(lambda module, inputs, output: seen.update(decoded=output))
    network.segmentation_head.register_forward_hook(lambda module, inputs, output: seen.update(logits=output))
    with torch.inference_mode():
        network(torch.randn(1, 1, 64, 64))
        joined = torch.cat([seen["decoded"], seen["logits"]], 1)
        weight = network.lands_1x1[0].weight[:, :, 0, 0]
        torch.testing.assert_close(network.lands_1x1(joined), torch.einsum("lc,bchw->blhw", weight, joined), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("size", ["small", "medium"])
@pytest.mark.parametrize("shape", [(64, 64), (48, 80), (16, 16)])
def test_every_multiple_of_sixteen_comes_out_at_its_size(size: str, shape: tuple[int, int]) -> None:
    network = TransUNet(size, 7, 14, (64, 64)).eval()
    with torch.inference_mode():
        output = network(torch.randn(2, 1, *shape))
    assert isinstance(output, NetworkOutput)
    assert output.segmentation.shape == (2, 7, *shape)
    assert output.heatmaps.shape == (2, 14, *shape)


def test_a_task_without_landmarks_gives_no_heatmaps() -> None:
    with torch.inference_mode():
        output = small(landmarks=0)(torch.randn(1, 1, 64, 64))
    assert output.heatmaps.shape == (1, 0, 64, 64)


def test_the_position_table_keeps_smooth_positions_when_it_is_resized() -> None:
    network = small()
    embeddings = network.transformer.embeddings
    rows, columns = torch.meshgrid(torch.arange(4.0), torch.arange(4.0), indexing="ij")
    with torch.no_grad():
        embeddings.position_embeddings[0] = (rows + 10 * columns).reshape(16, 1).expand(16, embeddings.position_embeddings.shape[2])
        resized = embeddings._positions(8, 8)[0, :, 0].reshape(8, 8)
    # Twice as many tokens: token n of 8 lies at (n + 0.5) / 2 - 0.5 of 4. Inside, where no border enters, a linear table stays linear.
    inner = (torch.arange(3, 5) + 0.5) / 2 - 0.5
    torch.testing.assert_close(resized[3:5, 3:5], inner[:, None] + 10 * inner[None], rtol=0, atol=1e-2)
    assert embeddings._positions(4, 4) is embeddings.position_embeddings


def test_sizes_that_are_no_multiples_of_sixteen_are_refused_by_the_network_and_padded_by_its_caller() -> None:
    network = small()
    image = torch.randn(1, 1, 60, 50)
    with pytest.raises(SyntheXError, match="60 x 50"):
        network(image)
    with torch.inference_mode():
        output = forward_any_size(network, image)
        padded, (top, left) = pad_to_patches(image)
        whole = network(padded)
    assert padded.shape == (1, 1, 64, 64)
    assert (top, left) == (2, 7)
    torch.testing.assert_close(padded[0, 0, 2:62, 7:57], image[0, 0])
    torch.testing.assert_close(padded[0, 0, 1], padded[0, 0, 3])  # reflected at the first row, which is not repeated
    torch.testing.assert_close(output.heatmaps, whole.heatmaps[..., 2:62, 7:57])
    assert output.segmentation.shape == (1, 4, 60, 50)


def test_the_size_must_be_one_that_there_is() -> None:
    with pytest.raises(SyntheXError, match="small"):
        TransUNet("tiny", 7, 14, (64, 64))
    with pytest.raises(SyntheXError, match="multiple of 16"):
        TransUNet("small", 7, 14, (60, 64))


def test_standardized_convolutions_do_not_feel_scale_and_offset_of_their_filters() -> None:
    torch.manual_seed(0)
    convolution = StandardizedConv2d(3, 4, 3, bias=False)
    image = torch.randn(1, 3, 8, 8)
    with torch.inference_mode():
        expected = convolution(image)
        convolution.weight.mul_(100).add_(7)
        torch.testing.assert_close(convolution(image), expected, rtol=2e-3, atol=2e-3)
        filters = convolution.weight
        standard = (filters - filters.mean((1, 2, 3), keepdim=True)) / filters.std((1, 2, 3), keepdim=True, unbiased=False)
        torch.testing.assert_close(convolution(image), torch.nn.functional.conv2d(image, standard), rtol=1e-3, atol=1e-3)


def test_every_weight_takes_part_in_learning() -> None:
    network = small().train()
    output = network(torch.randn(2, 1, 64, 64))
    (output.segmentation.square().sum() + output.heatmaps.square().sum()).backward()
    without = [name for name, parameter in network.named_parameters() if parameter.grad is None or not parameter.grad.abs().sum() > 0]
    # A key bias shifts all scores of a query alike, which softmax takes out.
    assert [name for name in without if not name.endswith("attn.key.bias")] == []


def test_normalization_takes_scale_and_offset_out_and_survives_a_flat_image() -> None:
    torch.manual_seed(0)
    batch = torch.randn(2, 1, 16, 16)
    normalized = normalize(batch)
    torch.testing.assert_close(normalized.mean((1, 2, 3)), torch.zeros(2), rtol=0, atol=1e-6)
    torch.testing.assert_close(normalized.std((1, 2, 3), unbiased=False), torch.ones(2))
    torch.testing.assert_close(normalize(3 * batch - 5), normalized, rtol=1e-4, atol=1e-5)
    assert normalize(torch.full((1, 1, 16, 16), 3.0)).eq(0).all()


def test_the_log_image_is_that_of_the_display() -> None:
    from SyntheXLib.rendering import display

    signal = torch.tensor([1.2, 1.0, 0.5, 1e-9, 0.0, -0.1])
    torch.testing.assert_close(log_image(signal), torch.from_numpy(display.log_image(signal.numpy())))


def test_sizes_stay_what_their_names_promise() -> None:
    counts = {}
    for size in SIZES:
        with torch.device("meta"):
            counts[size] = parameter_count(TransUNet(size, 7, 14, (128, 128)))
    assert counts["small"] < 3e6 < counts["medium"] < 1e7 < counts["full"]
