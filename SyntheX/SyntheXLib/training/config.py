"""Every setting of a training, and the presets."""

from __future__ import annotations

import json
import tomllib
import types
import typing
from dataclasses import MISSING, asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

from SyntheXLib.errors import SyntheXError
from SyntheXLib.networks.losses import HEATMAP_LOSSES
from SyntheXLib.networks.transunet import PATCH, SIZES
from SyntheXLib.randomization.names import LEVELS
from SyntheXLib.randomization.names import PRESETS as RANDOMIZATIONS
from SyntheXLib.tasks.task import nearest

_CHOICES: dict[str, tuple[str | None, ...]] = {
    "size": tuple(SIZES),
    "optimizer": ("sgd", "adamw"),
    "heatmap_loss": HEATMAP_LOSSES,
    "randomization": LEVELS,
    "randomization_preset": RANDOMIZATIONS,
    "precision": ("float32", "bfloat16"),
    "schedule": (None, "step", "cosine"),
}
# Lowest value allowed, and whether that value itself is.
_LIMITS = {
    "epochs": (1, True),
    "batch": (1, True),
    "learning_rate": (0, False),
    "momentum": (0, True),
    "weight_decay": (0, True),
    "decay_every": (1, True),
    "decay_after": (0, True),
    "warmup_epochs": (0, True),
    "accumulation": (1, True),
    "patience": (1, True),
    "segmentation_weight": (0, True),
    "landmark_weight": (0, True),
    "presence_weight": (0, True),
    "clip_gradient": (0, False),
    "workers": (0, True),
    "threads": (1, True),
    "cache_mib": (0, True),
    "pictures": (0, True),
    "exposures": (1, True),
    "live_images": (1, True),
    "live_candidates": (1, True),
    "attenuation_spread": (0, True),
    "seed": (0, True),
    "image_size": (PATCH, True),
}
# What may change between the parts of an interrupted run, since it does not change what is learned.
_FREE_ON_RESUME = ("datasets", "live", "validation", "out", "device", "workers", "threads", "cache_mib", "pictures", "compile", "resume")


@dataclass(frozen=True)
class TrainingConfig:
    """Settings of a training. The defaults are ours: the small network, AdamW, NCC.

    Attributes
    ----------
    datasets
        Folders to train on, all of one task; empty with `live`.
    out
        Folder of the run: checkpoints, log.csv, model.pt, best.pt, TensorBoard.
    validation
        Folder to validate on after each epoch; None takes `validation_fraction` of the training images away for it.
    validation_fraction
        Share of the images that is not trained on when `validation` is None, whole specimens where there are enough (see
        `training.split`); 0 trains without validation.
    fold
        ``"K/N"``: the specimens in N parts, validate on part K and train on the others, see `training.split.split_fold`; with as many parts
        as specimens, leave one specimen out. In place of `validation` and `validation_fraction`.
    size
        Size of the network: small, medium or full.
    network, network_options
        ``"transunet"``, or ``"monai:NAME"`` for a network of MONAI (`size` then says nothing), and its options as a JSON table, see
        `ModelDescription.options`.
    pretrained, random_start
        File of weights to start from, see `networks.pretrained.load_pretrained`; the size full needs one, or `random_start`.
    epochs, batch
        How often each image is seen, and how many at a time (in each process, where ``torchrun`` started several).
    accumulation
        Batches whose gradients are added up for a step of the optimizer.
    optimizer
        ``"adamw"`` or ``"sgd"`` with Nesterov `momentum`.
    schedule
        ``"cosine"``: `learning_rate` falls to 0 along half a cosine. ``"step"``: it is multiplied by 0.5 after every `decay_every` epochs,
        counted from `decay_after`. None takes cosine for AdamW and step for SGD.
    learning_rate, weight_decay, momentum, decay_every, decay_after, warmup_epochs
        See `optimizer` and `schedule`; the rate rises linearly in the first `warmup_epochs`, which may be a fraction.
    heatmap_loss
        ``"ncc"``, ``"mse"`` or ``"mse-scaled"``, see `networks.losses.HeatmapLoss`.
    segmentation_weight, landmark_weight
        Factors of the Dice and of the heatmap loss. Ours is 1 to 3: on 1,500 views of the sample pelvis at 128 px (small, 6 epochs, one
        seed) the median landmark error fell from 14.3 to 9.7 mm against 1 to 1, the mean Dice from 0.81 to 0.79.
    presence_weight
        Factor of the loss of the presence head, where the network has one.
    clip_gradient
        Longest gradient (its norm over all weights); None does not limit it.
    average
        Share that a moving average of the weights keeps in a step, such as 0.999; the average is what is validated and saved. 0: the
        weights themselves.
    patience
        Stop after so many epochs in which the validation's score did not rise; None trains all epochs.
    randomization
        ``"none"``, ``"regular"`` or ``"strong"``.
    randomization_preset
        Whose effects these are: ``"ours"``, ``"paper-text"``, ``"released-code"`` or ``"radiography"``, see `randomization.presets`.
    physics_in_the_loop
        Image the data sets' area densities anew in every epoch, with exposures drawn from the ranges of their device, see
        `training.physics`. Validation keeps to the images that are stored, or that the simulator would have made.
    exposures
        How many exposures are drawn an epoch, one for four images at most.
    attenuation_spread
        With `physics_in_the_loop`: standard deviation of the logarithm of a factor on each material's density, drawn for each image.
    live
        File of cases (TOML, see `training.live.LiveSource`) whose views are rendered while the network learns, in `workers` processes
        (at least one), in place of data sets. Validation then is on the data set that `validation` names, or not at all.
    live_images
        Views an epoch.
    live_candidates
        Views of which one is rendered: the harder the network found their direction before, the likelier. 1: none is preferred.
    image_size
        Pixels a side that the images are resized to; None keeps the size of the data set.
    precision
        ``"bfloat16"`` computes the network in mixed precision (useful on GPUs; slower on most CPUs).
    compile
        Compile the network with `torch.compile` first: a minute or more, then faster steps; needs a C++ compiler.
    seed
        Decides weights, order and randomisation.
    device
        ``"auto"``, ``"cpu"``, ``"cuda"``, ``"cuda:1"`` or ``"mps"``.
    workers
        Processes that read images, where they are not held in memory.
    threads
        CPU threads of torch; None leaves it to torch.
    cache_mib
        Data sets up to this size (as log images) are held in memory.
    pictures
        Images of the validation that are drawn after each epoch with what the network finds; 0 draws none.
    resume
        Go on with an interrupted run in `out`; False begins anew there.
    """

    datasets: tuple[str, ...]
    out: str
    validation: str | None = None
    validation_fraction: float = 0.1
    fold: str | None = None
    size: str = "small"
    network: str = "transunet"
    network_options: str | None = None
    pretrained: str | None = None
    random_start: bool = False
    epochs: int = 20
    batch: int = 10
    accumulation: int = 1
    optimizer: str = "adamw"
    learning_rate: float = 1e-3
    weight_decay: float = 1e-5
    momentum: float = 0.9
    schedule: str | None = None
    decay_every: int = 10
    decay_after: int = 0
    warmup_epochs: float = 0.5
    heatmap_loss: str = "ncc"
    segmentation_weight: float = 1.0
    landmark_weight: float = 3.0
    presence_weight: float = 0.1
    clip_gradient: float | None = 1.0
    average: float = 0.0
    patience: int | None = None
    randomization: str = "regular"
    randomization_preset: str = "ours"
    physics_in_the_loop: bool = False
    exposures: int = 64
    attenuation_spread: float = 0.0
    live: str | None = None
    live_images: int = 1000
    live_candidates: int = 4
    image_size: int | None = None
    precision: str = "float32"
    compile: bool = False
    seed: int = 0
    device: str = "auto"
    workers: int = 0
    threads: int | None = None
    cache_mib: int = 2048
    pictures: int = 3
    resume: bool = True

    def __post_init__(self) -> None:
        """Check every value.

        Raises
        ------
        SyntheXError
            When a value has the wrong type, is out of range or names nothing; the sentence says which is near.
        """
        if isinstance(self.datasets, str | Path):
            object.__setattr__(self, "datasets", (str(self.datasets),))
        object.__setattr__(self, "datasets", tuple(str(folder) for folder in self.datasets))
        object.__setattr__(self, "out", str(self.out))
        if self.validation is not None:
            object.__setattr__(self, "validation", str(self.validation))
        hints = typing.get_type_hints(TrainingConfig)
        for field in fields(self):
            if field.name != "datasets":
                _check_type(field.name, getattr(self, field.name), hints[field.name])
        if self.live is not None and self.datasets:
            raise SyntheXError("Options 'datasets' and 'live' of the training exclude each other, found both.")
        if not self.datasets and self.live is None:
            raise SyntheXError("Option 'datasets' of the training must name at least one data set folder, found none.")
        for name, choices in _CHOICES.items():
            value = getattr(self, name)
            if value not in choices:
                known = [choice for choice in choices if choice is not None]
                raise SyntheXError(f"Option '{name}' must be one of {', '.join(known)}, found '{value}'{nearest(value, known)}.")
        for name, (lowest, included) in _LIMITS.items():
            value = getattr(self, name)
            # Written so that NaN fails.
            if value is not None and not (value >= lowest if included else value > lowest):
                raise SyntheXError(f"Option '{name}' must be {'at least' if included else 'above'} {lowest}, found {value}.")
        for name in ("validation_fraction", "average"):
            if not 0 <= getattr(self, name) < 1:
                raise SyntheXError(f"Option '{name}' must be at least 0 and below 1, found {getattr(self, name)}.")
        if self.fold is not None:
            parse_fold(self.fold)
            for name in ("validation", "live"):
                if getattr(self, name) is not None:
                    raise SyntheXError(f"Options 'fold' ({self.fold}) and '{name}' of the training exclude each other, found both.")
        unshared = self.validation_fraction == 0 and self.fold is None
        if self.patience is not None and self.validation is None and (unshared or self.live is not None):
            raise SyntheXError("Option 'patience' needs a validation: name a data set for it, or let validation_fraction be above 0.")
        if self.segmentation_weight == 0 and self.landmark_weight == 0:
            raise SyntheXError("Options 'segmentation_weight' and 'landmark_weight' must not both be 0: nothing would be learned.")

    def to_dict(self) -> dict[str, Any]:
        """Plain lists, numbers and strings."""
        values: dict[str, Any] = json.loads(json.dumps(asdict(self)))
        return values

    @staticmethod
    def from_dict(values: dict[str, Any]) -> TrainingConfig:
        """Settings from names and values; ``preset`` among them gives what the others start from.

        Raises
        ------
        SyntheXError
            When an option is unknown, missing or wrong.
        """
        values = dict(values)
        preset = values.pop("preset", None)
        if preset is not None:
            if preset not in PRESETS:
                raise SyntheXError(f"The preset must be one of {', '.join(PRESETS)}, found '{preset}'{nearest(str(preset), PRESETS)}.")
            values = {**PRESETS[preset], **values}
        known = {field.name: field for field in fields(TrainingConfig)}
        for name in values:
            if name not in known:
                raise SyntheXError(f"Unknown option '{name}' of the training{nearest(name, known)}.")
        for name, field in known.items():
            if name not in values and field.default is MISSING:
                raise SyntheXError(f"Option '{name}' of the training is missing.")
        return TrainingConfig(**values)

    def with_changes(self, **changes: Any) -> TrainingConfig:
        """The same settings but for `changes`."""
        return replace(self, **changes)

    def fixed(self) -> dict[str, Any]:
        """What must stay the same when an interrupted run goes on."""
        return {name: value for name, value in self.to_dict().items() if name not in _FREE_ON_RESUME}


# Values that differ from the defaults. Size full asks for a pretrained file, as the paper starts from one, or for `random_start`. The
# schedule of `released-code` is that of its scaled-up hip training.
PRESETS: dict[str, dict[str, Any]] = {
    "ours": {},
    "paper-text": {
        "size": "full",
        "epochs": 20,
        "batch": 5,
        "optimizer": "sgd",
        "learning_rate": 0.1,
        "weight_decay": 1e-5,
        "warmup_epochs": 0,
        "heatmap_loss": "mse",
        "randomization_preset": "paper-text",
        "landmark_weight": 1.0,
        "clip_gradient": None,
    },
    "released-code": {
        "size": "full",
        "epochs": 20,
        "batch": 5,
        "optimizer": "sgd",
        "learning_rate": 0.1,
        "weight_decay": 1e-4,
        "warmup_epochs": 0,
        "decay_every": 2,
        "decay_after": 2,
        "heatmap_loss": "ncc",
        "randomization_preset": "released-code",
        "landmark_weight": 1.0,
        "clip_gradient": None,
    },
}


def parse_fold(text: str) -> tuple[int, int]:
    """Part, from 1, and number of parts of a fold as ``2/5``.

    Raises
    ------
    SyntheXError
        When it is none.
    """
    part, slash, parts = text.partition("/")
    if not (slash and part.isdecimal() and parts.isdecimal() and 1 <= int(part) <= int(parts) and int(parts) >= 2):
        raise SyntheXError(f"Option 'fold' must name one of two parts or more, such as 2/5, found '{text}'.")
    return int(part), int(parts)


def read_settings(path: Path) -> dict[str, Any]:
    """Settings by name from a JSON or TOML file, for `TrainingConfig.from_dict`.

    Raises
    ------
    SyntheXError
        When there is no such file or it is neither.
    """
    try:
        text = path.read_text(encoding="utf-8")
        values = tomllib.loads(text) if path.suffix == ".toml" else json.loads(text)
    except OSError as error:
        raise SyntheXError(f"Cannot read the settings {path}: {error.strerror}.") from error
    except ValueError as error:
        raise SyntheXError(f"{path} must hold settings as JSON or TOML ({error}).") from error
    if not isinstance(values, dict):
        raise SyntheXError(f"{path} must hold settings by name, found {type(values).__name__}.")
    return values


def _check_type(name: str, value: Any, hint: Any) -> None:
    allowed = hint.__args__ if isinstance(hint, types.UnionType) else (hint,)
    accepted = tuple({float: (int, float)}.get(kind, kind) for kind in allowed)
    flat = tuple(kind for item in accepted for kind in (item if isinstance(item, tuple) else (item,)))
    if not isinstance(value, flat) or (isinstance(value, bool) and bool not in flat):
        names = " or ".join("nothing" if kind is types.NoneType else kind.__name__ for kind in allowed)
        raise SyntheXError(f"Option '{name}' of the training must be of type {names}, found {value!r}.")
