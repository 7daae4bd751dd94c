"""What stands in the beam."""

from dataclasses import dataclass

from SyntheXLib.scene.specimen import Specimen


@dataclass(frozen=True)
class Scene:
    """The patient in the world.

    Attributes
    ----------
    specimen
        CT, labels and landmarks; its world is the scene's world.
    """

    specimen: Specimen
