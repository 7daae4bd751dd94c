"""RTK's Joseph projector on the same rays, where it is installed (``pip install -r Testing/benchmarks/requirements.txt``)."""

import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np
import pytest
from phantoms import affine, ball_fraction

from SyntheXLib.rendering.cpu import CpuRenderer
from SyntheXLib.scene.c_arm import CArm
from SyntheXLib.scene.poses import CArmPose
from SyntheXLib.scene.scene import Scene
from SyntheXLib.scene.specimen import make_specimen

try:
    version("itk-rtk")
except PackageNotFoundError:
    pytest.skip("RTK (itk-rtk) is not installed", allow_module_level=True)
sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))


@pytest.mark.parametrize("pose", [CArmPose(), CArmPose(lao_rao_deg=35, cran_caud_deg=-20, roll_deg=12), CArmPose(lao_rao_deg=-80)])
def test_line_integrals_are_rtks(pose: CArmPose) -> None:
    from rtk_peer import RtkJoseph

    shape = (60, 70, 64)
    matrix = affine(shape, (1.5, 1.7, 2.0))
    fraction = ball_fraction(shape, matrix, np.array([5.0, -3.0, 4.0]), 35.0)
    inner = ball_fraction(shape, matrix, np.array([10.0, 2.0, -6.0]), 12.0)
    specimen = make_specimen("balls", -1000 + 1000 * fraction + 900 * inner, matrix, {"ball": fraction > 0.5}, ["ball"])
    camera = CArm(160, 150, 1.5, 1020).camera(pose.world_to_camera(np.zeros(3)))
    ours = CpuRenderer(()).render(Scene(specimen), camera)
    assert ours is not None
    total = (ours.hu_integral + 1000 * ours.path_length).sum(0)
    theirs = RtkJoseph(specimen, ()).single(camera)
    assert np.sqrt(((total - theirs) ** 2).mean()) < 0.005 * np.sqrt((theirs**2).mean())
    assert np.isclose(total.sum(), theirs.sum(), rtol=1e-3)
