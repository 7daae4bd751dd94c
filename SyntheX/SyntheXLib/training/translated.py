"""A data set with the look of another domain: translated images, and all labels carried over."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import torch

from SyntheXLib.datasets.derived import Progress, write_dataset
from SyntheXLib.datasets.format import content_checksum
from SyntheXLib.datasets.reader import Sample, XrayDataset
from SyntheXLib.errors import SyntheXError
from SyntheXLib.files import sha256
from SyntheXLib.networks.device import choose_device
from SyntheXLib.networks.normalization import log_image
from SyntheXLib.networks.translator_file import Translator, load_translator

_SPACING_TOLERANCE = 0.02
_BATCH = 8


def translate_dataset(
    folder: Path | str,
    translator: Path | str,
    out: Path | str,
    device: str = "auto",
    include_held_out: bool = False,
    progress: Progress | None = None,
) -> None:
    """Write a data set whose images went through a translator; masks, landmarks, cameras and parameters stay.

    An interrupted writing goes on where it was.

    Parameters
    ----------
    folder
        Data set of the translator's source domain.
    translator
        File that `train_cyclegan` wrote.
    out
        Data set to write.
    device
        Where the translator runs.
    include_held_out
        Also translate the specimens that the translator has not seen, which are kept for the test.
    progress
        Called with images done and in all.

    Raises
    ------
    SyntheXError
        When a file is not right, the pixel spacing is another, nothing is left, or `out` holds another data set.
    """
    dataset = XrayDataset(folder)
    made = load_translator(translator, choose_device(device))
    if abs(dataset.pixel_spacing_mm / made.pixel_spacing_mm - 1) > _SPACING_TOLERANCE:
        found = f"{made.pixel_spacing_mm:.4g} mm, found {dataset.pixel_spacing_mm:.4g} mm"
        raise SyntheXError(f"{dataset.folder} must have the pixel spacing that {translator} was trained at, {found}.")
    left_out = set() if include_held_out else set(made.held_out)
    chosen = [place for place, (name, _) in enumerate(dataset.specimens()) if name not in left_out]
    if not chosen:
        raise SyntheXError(f"Nothing of {dataset.folder} is to be translated: all of its specimens are held out by {translator}.")
    configuration = {**dataset.header.configuration, "image_dtype": dataset.header.configuration.get("image_dtype", "float32")}
    configuration["level"] = f"{configuration.get('level', 'image')}-cyclegan"
    configuration["origin"] = {"translated_from": content_checksum(dataset.folder), "translator": sha256(translator)}
    configuration.pop("materials", None)  # area densities would give the untranslated image back
    header = replace(
        dataset.header,
        specimens=tuple(one for one in dataset.header.specimens if one.get("name") not in left_out),
        configuration=configuration,
        count=len(chosen),
    )
    write_dataset(Path(out), header, _translated(dataset, chosen, made), progress)


def _translated(dataset: XrayDataset, places: list[int], translator: Translator) -> Iterator[Sample]:
    """Samples with translated images."""
    device = next(translator.generator.parameters()).device
    for start in range(0, len(places), _BATCH):
        samples = [dataset[place] for place in places[start : start + _BATCH]]
        images = torch.stack([torch.from_numpy(sample.image)[None] for sample in samples]).to(device)
        signals = torch.exp(-translator(log_image(images))).float().cpu().numpy()
        yield from (replace(sample, image=signal[0]) for sample, signal in zip(samples, signals, strict=True))
