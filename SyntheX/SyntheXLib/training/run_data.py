"""What a run trains on and validates on: data sets, or cases that are rendered meanwhile."""

from __future__ import annotations

from collections.abc import Sequence

from SyntheXLib.datasets.together import XraySource, check_sources, check_tasks
from SyntheXLib.training.config import TrainingConfig
from SyntheXLib.training.data import EpochSampler, XrayTensors, open_sources
from SyntheXLib.training.hard_views import LiveSampler
from SyntheXLib.training.live import live_source
from SyntheXLib.training.processes import Processes
from SyntheXLib.training.provenance import describe_sources
from SyntheXLib.training.split import Split, split_fold, split_named, split_sources


class RunData:
    """The images of a run and how they are shared out.

    Parameters
    ----------
    config
        Of the training.
    processes
        Those that train together.
    sources, validation
        Opened data sets to use in place of those that `config` names.

    Attributes
    ----------
    trained, validated
        Images, or area densities, to train on, and images to validate on; the same object where both are of the same data sets.
    split
        Which of them serve what.
    fingerprint
        What must stay the same when a run goes on.

    Raises
    ------
    SyntheXError
        When the data sets cannot be opened, do not go together or leave no image to train on.
    """

    def __init__(
        self,
        config: TrainingConfig,
        processes: Processes,
        sources: Sequence[XraySource] | None = None,
        validation: Sequence[XraySource] | None = None,
    ) -> None:
        self.config, self.processes = config, processes
        if validation is None:
            validation = open_sources([config.validation]) if config.validation is not None else []
        if config.live is not None:
            sources = [live_source(config, validation)]
            check_tasks([*sources, *validation])
        else:
            sources = list(sources) if sources is not None else open_sources(config.datasets)
            check_sources([*sources, *validation])
        self.trained = self.validated = XrayTensors(sources, config.image_size, config.physics_in_the_loop)
        self.fingerprint = describe_sources([*sources, *validation])
        if config.live is not None:
            self.split = Split(list(range(config.live_images)), list(range(sum(map(len, validation)))))
        elif validation:
            self.split = split_named(sources, validation)
        elif config.fold is not None:
            self.split = split_fold(sources, config.fold)
        else:
            self.split = split_sources(sources, config.validation_fraction, config.seed)
        if validation:
            self.validated = XrayTensors(validation, self.trained.shape[0] if config.live is not None else config.image_size)
        elif config.physics_in_the_loop and config.live is None:
            # Validation is on images as they are stored, whatever is trained on.
            self.validated = XrayTensors(sources, config.image_size)
        if self.split.held_out:  # a run of another split must not go on with this one
            self.fingerprint["held out"] = ", ".join(self.split.held_out)
        if processes.count > 1:
            self.fingerprint["processes"] = str(processes.count)

    def make_sampler(self) -> EpochSampler | LiveSampler:
        """The order of this process's images."""
        config, part = self.config, (self.processes.rank, self.processes.count)
        if config.live is None:
            return EpochSampler(self.split.trained_on, config.seed, *part)
        return LiveSampler(self.trained.task.poses, config.live_images, config.live_candidates, config.seed, *part)

    @property
    def workers(self) -> int:
        """Processes that read images; views are always rendered beside the network."""
        return self.config.workers if self.config.live is None else max(self.config.workers, 1)

    def hold_in_memory(self) -> None:
        """Read once what fits into the memory that the settings give."""
        limit, live = self.config.cache_mib, self.config.live is not None
        if self.validated is self.trained and not live:
            self.trained.hold_in_memory(limit)
            return
        if not live:
            self.trained.hold_in_memory(limit, self.split.trained_on)
        if self.split.validated_on:
            self.validated.hold_in_memory(limit, self.split.validated_on)
