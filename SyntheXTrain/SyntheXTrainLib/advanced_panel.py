"""The part of the panel for what is seldom changed: whose randomisation, physics in the loop, and what the network starts from."""

from __future__ import annotations

import json
import os
import shlex
from typing import Any

from slicer.i18n import tr as _

from SyntheXHomeLib.panels import enable
from SyntheXTrainLib.parameters import AS_PRESET, FULL_PRESETS, LANDMARK_HEADS, NETWORKS, PRECISIONS, PRETRAINED_SIZE


class AdvancedPanel:
    """Network, heads, optimisation, folds, live rendering, and any other option. What of it can be chosen depends on data and size.

    Parameters
    ----------
    ui
        The panel's widgets.
    """

    def __init__(self, ui: Any) -> None:
        self._ui = ui
        self._parameters: Any = None
        self._densities = False

    def bind(self, parameters: Any) -> None:
        """Work on these parameters from now on; None: on none."""
        self._parameters = parameters

    @property
    def _full(self) -> bool:
        p = self._parameters
        if p.network != NETWORKS[0]:
            return False
        return p.size == PRETRAINED_SIZE or (p.size == AS_PRESET and p.preset in FULL_PRESETS)

    def options(self) -> dict[str, Any]:
        """Options of ``synthex train`` by name; what cannot be chosen now is left out."""
        p = self._parameters
        heads = {"landmark_head": p.landmarkHead} if p.landmarkHead != LANDMARK_HEADS[0] else {}
        heads |= {"presence": True} if p.presence else {}
        return {
            "network": None if p.network == NETWORKS[0] else p.network,
            "network_options": json.dumps(heads) if heads and p.network == NETWORKS[0] else None,
            "optimizer": None if p.optimizer == AS_PRESET else p.optimizer,
            "schedule": None if p.schedule == AS_PRESET else p.schedule,
            "batch": p.batch or None,
            "accumulation": p.accumulation if p.accumulation > 1 else None,
            "average": p.average or None,
            "precision": None if p.precision == PRECISIONS[0] else p.precision,
            "fold": p.fold.strip() or None,
            "live": p.live or None,
            "live_images": p.liveImages if p.live else None,
            "randomization_preset": None if p.randomizationPreset == AS_PRESET else p.randomizationPreset,
            "physics_in_the_loop": p.physicsInTheLoop and self._densities,
            "pretrained": p.pretrained or None,
            "random_start": p.randomStart and self._full and not p.pretrained,
            "more": self._more() or None,
        }

    def _more(self) -> list[str]:
        """Words of the field for further options."""
        return shlex.split(self._parameters.more, posix=os.name != "nt")

    def update(self, chosen: bool, densities: bool) -> str:
        """Enable what can be chosen; give what a training lacks, empty when it lacks nothing.

        Parameters
        ----------
        chosen, densities
            Whether there are data sets, and whether all of them store area densities.
        """
        p, ui = self._parameters, self._ui
        self._densities = densities = densities or p.live != ""
        lacks = "" if densities else _("Needs a data set.")
        if chosen and not densities:
            lacks = _("The data set stores images alone, no area densities: simulate it with paths stored.")
        tip = _("Make the images anew in every epoch from the stored area densities: tube, dose, scatter and noise are drawn each time")
        enable(ui.physicsCheckBox, tip, lacks)
        lacks = "" if self._full else _("Only the size full needs a pretrained file; the others start from random weights anyway.")
        if self._full and p.pretrained:
            lacks = _("The network starts from the pretrained file.")
        enable(ui.randomStartCheckBox, _("Let the size full start from random weights; the model's record says so"), lacks)
        lacks = "" if p.network == NETWORKS[0] else _("The networks of MONAI have heads of their own.")
        enable(ui.landmarkHeadBox, _("linear: as released; deep: with layers of its own between, read out below a pixel"), lacks)
        enable(ui.presenceCheckBox, _("Let the network also say which landmarks are inside the frame"), lacks)
        enable(ui.liveImagesBox, _("Views that are rendered for an epoch"), "" if p.live else _("Needs live cases."))
        if p.live and chosen:
            return _("Live cases take the place of data sets: remove one of the two.")
        try:
            self._more()
        except ValueError:
            return _("The further options in Advanced cannot be read: a quotation mark is missing.")
        missing = self._full and not p.pretrained and not p.randomStart
        return _("The size full needs a pretrained file or a random start, see Advanced.") if missing else ""
