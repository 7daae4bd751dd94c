"""The file of a translation: generator, gray ranges, and where they come from, in one file that is safe to load."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from SyntheXLib.errors import SyntheXError
from SyntheXLib.files import atomic_write
from SyntheXLib.networks.model_file import load_safely, load_weights
from SyntheXLib.networks.translation import GrayRange, ResNetGenerator, translate_any_size

_FORMAT = "synthex-translator"
_VERSION = 1


@dataclass
class Translator:
    """Turns images of the source domain into images of the target domain.

    Attributes
    ----------
    generator
        Between images in -1 .. 1.
    source, target
        Gray ranges of the domains.
    pixel_spacing_mm
        On the detector, of the images that it was trained on.
    held_out
        Specimens that it has not seen and that are kept for the test.
    training
        Record: settings, checksums of the data sets, epochs, versions.
    """

    generator: ResNetGenerator
    source: GrayRange
    target: GrayRange
    pixel_spacing_mm: float
    held_out: tuple[str, ...] = ()
    training: dict[str, Any] = field(default_factory=dict)

    def __call__(self, images: Tensor) -> Tensor:
        """Log images (B, 1, H, W) of the source as log images of the target, on the device of the generator."""
        self.generator.eval()
        with torch.inference_mode():
            return self.target.unscale(translate_any_size(self.generator, self.source.scale(images)))


def save_translator(path: Path | str, translator: Translator) -> None:
    """Write a translator; the file appears whole or not at all.

    Raises
    ------
    SyntheXError
        When the disk is full or read-only.
    """
    generator = translator.generator
    content = {
        "format": _FORMAT,
        "version": _VERSION,
        "generator": {"blocks": generator.blocks, "width": generator.width},
        "source": [translator.source.low, translator.source.high],
        "target": [translator.target.low, translator.target.high],
        "pixel_spacing_mm": translator.pixel_spacing_mm,
        "held_out": list(translator.held_out),
        "training": json.loads(json.dumps(translator.training)),  # plain values: torch's version is a class of its own
        "weights": {name: tensor.detach().cpu().contiguous() for name, tensor in generator.state_dict().items()},
    }
    with atomic_write(path) as temporary:
        torch.save(content, temporary)


def load_translator(path: Path | str, device: str | torch.device = "cpu") -> Translator:
    """Read a translator without running any code that the file may hold.

    Raises
    ------
    SyntheXError
        When the file is missing, none of that kind, of a later version, or damaged.
    """
    path = Path(path)
    content = load_safely(path, "translator file")
    if not isinstance(content, dict) or content.get("format") != _FORMAT:
        raise SyntheXError(f"{path} is not a translator file: expected the format '{_FORMAT}' (as `synthex adapt cyclegan` writes it).")
    if content.get("version") != _VERSION:
        raise SyntheXError(f"{path} is a translator file of version {content.get('version')}, expected {_VERSION}.")
    try:
        generator = ResNetGenerator(**content["generator"])
        load_weights(generator, content["weights"], path)
        return Translator(
            generator.to(device).eval(),
            GrayRange(*content["source"]),
            GrayRange(*content["target"]),
            float(content["pixel_spacing_mm"]),
            tuple(content["held_out"]),
            content["training"],
        )
    except (KeyError, TypeError) as error:
        raise SyntheXError(f"{path} is a damaged translator file: {type(error).__name__} at {error}.") from error
