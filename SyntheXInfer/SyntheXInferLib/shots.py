"""Frames of an image, taken out of the scene for `finding`."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from SyntheXHomeLib.image_nodes import factsOf, framesOf, knownIntensity
from SyntheXInferLib.finding import Shot


def shotOf(imageNode: Any, volumeNode: Any | None = None) -> Shot:
    """The frames of an image as they are now.

    Parameters
    ----------
    imageNode
        The image, of which is known what is known of the frames.
    volumeNode
        What shows one frame of it, of which alone the pixels are then taken.

    Raises
    ------
    SyntheXError
        As `framesOf`.
    """
    frames = framesOf(imageNode if volumeNode is None else volumeNode)
    facts = replace(factsOf(imageNode), shape=frames.shape[1:], frames=len(frames))
    return Shot(imageNode.GetName(), np.array(frames), facts, knownIntensity(imageNode))
