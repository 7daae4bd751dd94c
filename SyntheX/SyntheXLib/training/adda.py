"""ADDA (Tzeng et al. 2017) as Gao et al. 2023 have it: a trained network learns to answer images of the target as those of the source."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.optim import Adam, AdamW

from SyntheXLib.errors import SyntheXError
from SyntheXLib.networks.discriminators import MapDiscriminator, confusion_loss, domain_loss, relativistic_loss
from SyntheXLib.networks.losses import HEATMAP_LOSSES, Targets, TaskLoss
from SyntheXLib.networks.model_file import load_model, save_model
from SyntheXLib.networks.normalization import normalize, pad_to_patches
from SyntheXLib.networks.transunet import NetworkOutput, TransUNet
from SyntheXLib.randomization.batch import XrayBatch
from SyntheXLib.randomization.names import LEVELS
from SyntheXLib.randomization.names import PRESETS as RANDOMIZATIONS
from SyntheXLib.randomization.presets import make_randomization
from SyntheXLib.training.adversarial import AdaptationResult, AdversarialConfig, AdversarialRun, minimize, require_grad
from SyntheXLib.training.data import derived_seed
from SyntheXLib.training.provenance import versions
from SyntheXLib.training.report import ProgressCallback

VARIANTS = ("paper-text", "released-code")
_HALVING = 500  # steps after which the released code halves the rates
_DISCRIMINATOR_STEPS, _TASK_STEPS = 20, 5  # of the released code, in turn


@dataclass(frozen=True, kw_only=True)
class AddaConfig(AdversarialConfig):
    """Settings of ADDA; see `AdversarialConfig` for the rest.

    Attributes
    ----------
    model
        Model file to start from, trained on the source.
    variant
        ``"paper-text"``: the discriminator judges the prediction, and a second TransUNet rebuilds the image from it; both learn from every
        batch. ``"released-code"``: the discriminator judges the features of the decoder, the loss is relativistic, 20 steps of it and 5 of
        the network take turns, and every rate is halved after each 500 steps of its own.
    adversarial_weight, reconstruction_weight
        Factors of the adversarial loss and of the rebuilt image.
    heatmap_loss
        See `networks.losses.HeatmapLoss`.
    randomization, randomization_preset
        Of both domains' images, as in `TrainingConfig`; the paper has ADDA with regular and with strong randomisation.
    learning_rate, discriminator_rate
        Of the network (AdamW; not printed in the paper) and of the discriminator (Adam, weight decay 1e-4, as released).
    """

    model: str
    epochs: int = 10
    batch: int = 5
    variant: str = "paper-text"
    adversarial_weight: float = 0.001
    reconstruction_weight: float = 0.01
    heatmap_loss: str = "ncc"
    learning_rate: float = 1e-4
    discriminator_rate: float = 1e-3
    randomization: str = "none"
    randomization_preset: str = "ours"

    def __post_init__(self) -> None:
        """Check the values; see `AdversarialConfig`."""
        super().__post_init__()
        choices = {"variant": VARIANTS, "heatmap_loss": HEATMAP_LOSSES, "randomization": LEVELS, "randomization_preset": RANDOMIZATIONS}
        for name, known in choices.items():
            if getattr(self, name) not in known:
                raise SyntheXError(f"Option '{name}' must be one of {', '.join(known)}, found '{getattr(self, name)}'.")
        for name in ("adversarial_weight", "reconstruction_weight", "learning_rate", "discriminator_rate"):
            self.at_least(name, 0)
        if self.variant == "released-code" and self.reconstruction_weight:
            raise SyntheXError(
                f"The released ADDA rebuilds no image: 'reconstruction_weight' must be 0, found {self.reconstruction_weight}."
            )


# The heatmap loss is the one of the preset of the same name in `training.config`.
PRESETS: dict[str, dict[str, Any]] = {
    "paper-text": {"heatmap_loss": "mse", "randomization_preset": "paper-text"},
    "released-code": {
        "variant": "released-code",
        "adversarial_weight": 0.01,
        "reconstruction_weight": 0.0,
        "epochs": 50,
        "randomization": "regular",
        "randomization_preset": "released-code",
    },
}


def train_adda(config: AddaConfig, progress: ProgressCallback | None = None) -> AdaptationResult:
    """Adapt a network; ``model.pt`` in the folder of the run is a model file like any other.

    An interrupted run goes on from its last whole epoch.

    Parameters
    ----------
    config, progress
        See `cyclegan.train_cyclegan`.

    Raises
    ------
    SyntheXError
        See `domains.open_domains`, `AdversarialRun.run` and `load_model`; or the model does not fit the data.
    """
    return AddaRun(config, progress).run()


class AddaRun(AdversarialRun):
    """One ADDA."""

    config: AddaConfig
    file_name = "model.pt"
    smaller = "a model of a smaller size, or smaller images"
    columns = ("loss", "segmentation_loss", "landmark_loss", "adversarial_loss", "reconstruction_loss", "discriminator_loss")

    def build(self) -> None:
        """Network, discriminator, and the second TransUNet where the image is rebuilt."""
        config = self.config
        network, self.description = load_model(config.model, self.device)
        if not isinstance(network, TransUNet):
            raise SyntheXError(f"{config.model} must hold a TransUNet to be adapted by ADDA, found {self.description.architecture}.")
        self._check_fit()
        landmarks, classes = network.landmarks, network.classes
        judged = network.size.decoder[-1] if config.variant == "released-code" else classes + landmarks
        self.network = network
        self.modules = {"network": network, "discriminator": MapDiscriminator(judged).to(self.device)}
        learned: list[nn.Module] = [network]
        if config.reconstruction_weight:
            rows, columns = network.transformer.embeddings.grid
            size = replace(network.size, inputs=classes + landmarks)
            self.modules["decoder"] = TransUNet(size, 1, 0, (16 * rows, 16 * columns)).to(self.device)
            learned.append(self.modules["decoder"])
        parameters = [p for module in learned for p in module.parameters()]
        self.optimizers = {
            "task": AdamW(parameters, config.learning_rate, weight_decay=1e-5),
            "discriminator": Adam(self.modules["discriminator"].parameters(), config.discriminator_rate, weight_decay=1e-4),
        }
        self.exclusive = self.source.tensors.task.segmentation == "exclusive"
        self.loss = TaskLoss(self.exclusive, config.heatmap_loss, self.description.heatmap_sigma_px)
        task = self.source.tensors.task
        self.randomization = make_randomization(config.randomization_preset, config.randomization, task, self.exclusive)
        self.drawn = torch.Generator(self.device)

    def begin_epoch(self, epoch: int) -> None:
        """Set the generator of the randomisation."""
        self.drawn.manual_seed(derived_seed(self.config.seed, "randomization", epoch))

    def prepare(self, batch: XrayBatch) -> XrayBatch:
        """Randomise a batch of either domain."""
        return batch if self.randomization is None else self.randomization(batch, self.drawn)

    def rate(self, name: str, iteration: int) -> float:
        """Constant in the paper's variant; halved after each 500 steps of its own in the released one."""
        full = self.config.learning_rate if name == "task" else self.config.discriminator_rate
        if self.config.variant == "paper-text":
            return full
        rounds, rest = divmod(iteration, _DISCRIMINATOR_STEPS + _TASK_STEPS)
        taken = {
            "discriminator": rounds * _DISCRIMINATOR_STEPS + min(rest, _DISCRIMINATOR_STEPS),
            "task": rounds * _TASK_STEPS + max(0, rest - _DISCRIMINATOR_STEPS),
        }
        return float(full * 0.5 ** (taken[name] // _HALVING))

    def step(self, source: XrayBatch, target: XrayBatch, iteration: int) -> dict[str, float]:
        """The discriminator, the network, or both, see `AddaConfig`."""
        pictures = {"source": normalize(source.image), "target": normalize(target.image)}
        truth = Targets(source.labels, source.landmarks, source.visible)
        if self.config.variant == "paper-text":
            return {**self._discriminate(pictures), **self._learn_task(pictures, truth)}
        if iteration % (_DISCRIMINATOR_STEPS + _TASK_STEPS) < _DISCRIMINATOR_STEPS:
            return self._discriminate(pictures)
        return self._learn_task(pictures, truth)

    def write(self, path: Path) -> None:
        """Write the network as a model file."""
        record = {**self.description.training, "adda": {**json.loads(json.dumps(asdict(self.config))), "held_out": list(self.held_out)}}
        record["versions"] = versions()
        save_model(path, self.network, replace(self.description, training=record))

    def _check_fit(self) -> None:
        """The data must be of the task and the pixels of the model."""
        tensors, model = self.source.tensors, self.description
        expected = {"task": model.task, "image size": tuple(model.image_size), "pixel spacing": round(model.pixel_spacing_mm, 4)}
        found = {"task": tensors.task.to_dict(), "image size": tensors.shape, "pixel spacing": round(tensors.pixel_spacing_mm, 4)}
        for name, value in expected.items():
            if json.dumps(found[name], sort_keys=True) != json.dumps(value, sort_keys=True):
                detail = "" if name == "task" else f", expected {value}, found {found[name]}"
                raise SyntheXError(f"{self.config.model} was trained with another {name} than {self.source.sources[0].folder} has{detail}.")

    def _see(self, image: Tensor) -> tuple[NetworkOutput, Tensor]:
        """Output for images of any size, and what the discriminator judges."""
        height, width = image.shape[2:]
        padded, (top, left) = pad_to_patches(image)
        decoded, encoded = self.network.features(padded)
        output = self.network.read(decoded, encoded)
        window = (..., slice(top, top + height), slice(left, left + width))
        output = NetworkOutput(output.segmentation[window], output.heatmaps[window], output.presence)
        return output, decoded if self.config.variant == "released-code" else self._prediction(output)

    def _prediction(self, output: NetworkOutput) -> Tensor:
        """z of the paper: probabilities of the structures and heatmaps, (B, C + L, H, W)."""
        scores = output.segmentation.softmax(1) if self.exclusive else output.segmentation.sigmoid()
        # Whatever scale the heatmap loss leaves to a map, here its largest value is 1.
        highest = output.heatmaps.abs().amax((2, 3), keepdim=True).clamp_min(1e-6)
        return torch.cat([scores, output.heatmaps / highest], dim=1)

    def _discriminate(self, pictures: dict[str, Tensor]) -> dict[str, float]:
        discriminator = self.modules["discriminator"]
        with torch.no_grad():
            seen = {name: self._see(image)[1] for name, image in pictures.items()}
        require_grad([discriminator], True)
        logits = {name: discriminator(maps) for name, maps in seen.items()}
        pair = logits["source"], logits["target"]
        loss = domain_loss(*pair) if self.config.variant == "paper-text" else relativistic_loss(*pair)
        minimize(self.optimizers["discriminator"], loss)
        return {"discriminator_loss": float(loss.detach())}

    def _learn_task(self, pictures: dict[str, Tensor], truth: Targets) -> dict[str, float]:
        config = self.config
        discriminator = self.modules["discriminator"]
        require_grad([discriminator], False)
        output, judged_source = self._see(pictures["source"])
        _, judged_target = self._see(pictures["target"])
        task = self.loss(output, truth)
        parts = {
            f"{name}_loss".replace("landmarks", "landmark"): float(value) for name, value in self.loss.parts.items() if name != "presence"
        }
        logits = discriminator(judged_target)
        paper = config.variant == "paper-text"
        adversarial = confusion_loss(logits) if paper else relativistic_loss(logits, discriminator(judged_source))
        total = task + config.adversarial_weight * adversarial
        if config.reconstruction_weight:
            rebuilt = self._rebuild(judged_target)
            reconstruction = functional.mse_loss(rebuilt, pictures["target"])
            total = total + config.reconstruction_weight * reconstruction
            parts["reconstruction_loss"] = float(reconstruction.detach())
        minimize(self.optimizers["task"], total)
        return {"loss": float(total.detach()), "adversarial_loss": float(adversarial.detach()), **parts}

    def _rebuild(self, prediction: Tensor) -> Tensor:
        """Images (B, 1, H, W) that the second TransUNet makes of predictions."""
        height, width = prediction.shape[2:]
        padded, (top, left) = pad_to_patches(prediction)
        rebuilt: Tensor = self.modules["decoder"](padded).segmentation
        return rebuilt[..., top : top + height, left : left + width]
