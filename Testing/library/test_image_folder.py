"""Folders of real X-rays as data sets, and what reads data sets whose cameras are not known."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from other_layouts import write_synthex_hdf5
from PIL import Image
from test_dataset_imports import small_task
from test_report import rows, write_predictions

from SyntheXLib.cli import main
from SyntheXLib.datasets.derived import merge_datasets
from SyntheXLib.datasets.export import export_coco, export_nifti
from SyntheXLib.datasets.importers.synthex_hdf5 import open_synthex_hdf5
from SyntheXLib.datasets.reader import XrayDataset
from SyntheXLib.errors import SyntheXError
from SyntheXLib.evaluation.evaluate import evaluate
from SyntheXLib.inference.image_folder import MaskMeaning, open_image_folder
from SyntheXLib.inference.images import read_image
from SyntheXLib.networks.model_file import load_model
from SyntheXLib.rendering.display import log_image
from SyntheXLib.rendering.renderer import make_renderer
from SyntheXLib.scene.c_arm import task_camera
from SyntheXLib.scene.case_files import CaseFiles, load_specimen
from SyntheXLib.scene.landmarks import write_markups
from SyntheXLib.scene.poses import CArmPose
from SyntheXLib.scene.scene import Scene
from SyntheXLib.tasks.labels import structure_masks
from SyntheXLib.tasks.task import load_task

HIP = load_task("hip")
LUNGS = small_task(("left_lung", "right_lung"), ("apex", "hilum"))


def save(folder: Path, name: str, image: np.ndarray, mask: np.ndarray) -> None:
    folder.mkdir(exist_ok=True)
    Image.fromarray(image.astype(np.uint8)).save(folder / f"{name}.png")
    Image.fromarray(mask.astype(np.uint8)).save(folder / f"{name}_mask.png")


def slope(height: int, width: int) -> np.ndarray:
    """Brighter to the right: 0, 2, 4 ..."""
    return np.tile(2 * np.arange(width), (height, 1))


def halves(height: int, width: int, left: int, right: int) -> np.ndarray:
    mask = np.full((height, width), left)
    mask[:, width // 2 :] = right
    return mask


def test_an_oblong_image_is_fitted_into_the_square(tmp_path: Path) -> None:
    save(tmp_path / "in", "a", slope(24, 48), halves(24, 48, 2, 1))
    with (tmp_path / "in" / "a.csv").open("w", encoding="utf-8") as file:
        csv.writer(file).writerows([["landmark", "column", "row"], ["hilum", 10, 4], ["apex", "", ""]])
    found = open_image_folder(tmp_path / "in", LUNGS, image_size=24, imaging_system="wall stand")
    assert len(found.notes) == 1 and "is not known" in found.notes[0]
    found.write(tmp_path / "out")
    dataset = XrayDataset(tmp_path / "out")
    sample = dataset[0]
    assert np.array_equal(sample.image[[*range(6), *range(18, 24)]], np.ones((12, 24)))  # beyond the image: open beam
    signal = np.exp(-5 * np.arange(48) / 47)
    assert np.allclose(sample.image[6:18], signal.reshape(24, 2).mean(1), atol=1e-6)
    masks = structure_masks(sample.mask, 2)
    assert masks[0][6:18, 12:].all() and masks[1][6:18, :12].all() and masks.sum() == 12 * 24
    assert np.isnan(sample.landmarks[0]).all() and np.allclose(sample.landmarks[1], [10.5 / 2 - 0.5, 4.5 / 2 - 0.5 + 6])
    assert sample.visible.tolist() == [False, True]
    assert sample.parameters == {"specimen": "a", "source": "a.png", "imaging_system": "wall stand", "source_shape": [24, 48]}


def test_known_spacings_bring_all_to_one(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    for name, side, spacing in (("large", 40, 0.4), ("small", 40, 0.2)):
        for end, values in (("", slope(side, side) + 1.0), ("_mask", np.ones((side, side)))):
            image = sitk.GetImageFromArray(values.astype(np.uint8))
            image.SetSpacing((spacing, spacing))
            image.SetOrigin((7.0, -3.0))
            sitk.WriteImage(image, str(folder / f"{name}{end}.nrrd"))
    # As Slicer saves points on such an image: physical (LPS) = origin + spacing * index, written in RAS here.
    write_markups(folder / "small.mrk.json", {"apex": np.array([-(7 + 0.2 * 10), -(-3 + 0.2 * 20), 0.0])}, coordinate_system="RAS")
    found = open_image_folder(folder, LUNGS, image_size=40)
    assert found.pixel_spacing_mm == pytest.approx(0.4) and not found.notes
    found.write(tmp_path / "out")
    large, small = (XrayDataset(tmp_path / "out")[n] for n in range(2))
    assert (large.mask == 1).all()
    assert (small.mask[10:30, 10:30] == 1).all() and small.mask.sum() == 400  # half as large, in the middle
    assert np.allclose(small.landmarks[0], [10.5 / 2 - 0.5 + 10, 20.5 / 2 - 0.5 + 10])
    assert small.parameters["source_pixel_spacing_mm"] == [0.2, 0.2]


@pytest.mark.parametrize(
    ("meaning", "values", "expected"),
    [
        (MaskMeaning(), (1, 2), ([1, 0], [0, 1])),
        (MaskMeaning("labels", {"left_lung": (10, 11), "right_lung": (12,)}), (11, 12), ([1, 0], [0, 1])),
        (MaskMeaning("labels", {"right_lung": (255,)}), (0, 255), ([0, 0], [0, 1])),
        (MaskMeaning("bits"), (3, 2), ([1, 0], [1, 1])),
        (MaskMeaning("bits", {"left_lung": (2,), "right_lung": (16, 32)}), (2 + 64, 2 + 16), ([1, 1], [0, 1])),
    ],
)
def test_masks_mean_what_is_told(tmp_path: Path, meaning: MaskMeaning, values: tuple[int, int], expected: tuple) -> None:
    save(tmp_path / "in", "a", slope(32, 32), halves(32, 32, *values))
    open_image_folder(tmp_path / "in", LUNGS, masks=meaning, image_size=32).write(tmp_path / "out")
    masks = structure_masks(XrayDataset(tmp_path / "out")[0].mask, 2)
    for mask, (left, right) in zip(masks, expected, strict=True):
        assert np.all(mask[:, :16] == left) and np.all(mask[:, 16:] == right)


def test_a_white_mask_is_the_only_structure(tmp_path: Path) -> None:
    save(tmp_path / "in", "a", slope(32, 32), halves(32, 32, 0, 255))
    open_image_folder(tmp_path / "in", small_task(("lesion",)), image_size=32).write(tmp_path / "out")
    assert np.array_equal(XrayDataset(tmp_path / "out")[0].mask, halves(32, 32, 0, 1))


def test_the_network_sees_the_image_that_was_imported(tmp_path: Path) -> None:
    """A log image becomes a signal and, in training, a log image again: the same up to scale and offset."""
    save(tmp_path / "in", "a", np.random.default_rng(0).integers(0, 255, (32, 32)), halves(32, 32, 1, 2))
    open_image_folder(tmp_path / "in", LUNGS, image_size=32, polarity="bone-dark").write(tmp_path / "out")
    seen = log_image(XrayDataset(tmp_path / "out")[0].image).ravel()
    assert np.corrcoef(seen, read_image(tmp_path / "in" / "a.png", "bone-dark").pixels.ravel())[0, 1] == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize(
    ("spoil", "expected"),
    [
        (lambda f: (f / "a_mask.png").unlink(), r"Image .*a.png: expected its mask a_mask.png .* found none"),
        (lambda f: (f / "a.png").unlink(), r"every image's name ends in '_mask'"),
        (lambda f: save(f, "b", slope(32, 32), halves(30, 32, 1, 2)), r"b_mask.png: expected 32 x 32 pixels as its image, found 30 x 32"),
        (lambda f: save(f, "b", slope(32, 32), halves(32, 32, 1, 7)), r"b_mask.png: expected the labels 0, 1, 2, found also 7"),
        (lambda f: (f / "a.csv").write_text("name,x,y\n"), None),
        (lambda f: (f / "a.csv").write_text("name,x,y\nq,1,2\n"), r"a.csv: expected the columns landmark, column and row"),
        (lambda f: (f / "a.csv").write_text("landmark,column,row\napexx,1,2\n"), r"has no 'apexx', .*did you mean 'apex'"),
        (lambda f: (f / "b.png").write_text("no"), r"Image .*b.png: expected its mask"),
        (lambda f: (f / "a.png").write_text("no"), r"a.png holds text, expected an image"),
    ],
)
def test_a_bad_folder_is_one_sentence_and_leaves_nothing(tmp_path: Path, spoil, expected: str | None) -> None:
    save(tmp_path / "in", "a", slope(32, 32), halves(32, 32, 1, 2))
    spoil(tmp_path / "in")
    if expected is None:  # a table without rows tells nothing
        assert np.isnan(next(open_image_folder(tmp_path / "in", LUNGS, image_size=32).images()).landmarks).all()
        return
    with pytest.raises(SyntheXError, match=expected):
        open_image_folder(tmp_path / "in", LUNGS, image_size=32).write(tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["in"]


def test_options_that_mean_nothing_are_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save(tmp_path / "in", "a", slope(32, 32), halves(32, 32, 1, 2))
    command = ["dataset", "import", "--layout", "images", str(tmp_path / "in"), "--out", str(tmp_path / "out")]
    for options, expected in (
        (["--mask-number", "femur"], "must be STRUCTURE=N"),
        (["--mask-number", "left_femr=1"], "did you mean 'left_femur'"),
        (["--masks", "bits", "--mask-number", "left_femur=3"], "expected powers of two, found 3"),
        (["--masks", "colours"], "Masks must hold labels or bits"),
        (["--polarity", "dark"], "Polarity must be one of"),
        (["--pixel-spacing", "-1"], "Pixel spacing must be above 0 mm"),
        (["--image-size", "4"], "Image size must be at least 16 px"),
        (["--cases", "x"], "--cases does not go with --layout images"),
        (["--specimen", "a", "--specimen", "b"], "takes one --specimen, found 2"),
    ):
        assert main([*command, *options]) == 2
        assert expected in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.fixture
def cameraless(tmp_path: Path) -> Path:
    """An imported data set of four images, two specimens, 14 landmarks and no camera."""
    images, labels = write_synthex_hdf5(tmp_path, {"01": 2, "02": 2})
    open_synthex_hdf5(images, HIP, labels, imaging_system="C-arm").write(tmp_path / "real")
    return tmp_path / "real"


def test_the_commands_cope_without_cameras(cameraless: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for action in ("info", "check", "show"):
        assert main(["dataset", action, str(cameraless)]) == 0
    text = capsys.readouterr().out
    assert "1 of 1 shards are whole" in text and "No image has a known camera" in text and "specimens    01, 02" in text
    assert (cameraless / "images.png").is_file() and not (cameraless / "poses.png").exists()
    merge_datasets([cameraless, cameraless], tmp_path / "merged")
    assert len(XrayDataset(tmp_path / "merged")) == 8


def test_the_exports_say_null_where_no_camera_is_known(cameraless: Path, tmp_path: Path) -> None:
    export_coco(XrayDataset(cameraless), tmp_path / "coco")
    export_nifti(XrayDataset(cameraless), tmp_path / "nifti")
    coco = json.loads((tmp_path / "coco" / "annotations.json").read_text(encoding="utf-8"))
    nifti = json.loads((tmp_path / "nifti" / "000000.json").read_text(encoding="utf-8"))
    for entry in (*coco["images"], nifti):
        assert entry["world_to_camera"] is None and entry["intrinsics"] is None


@pytest.mark.filterwarnings("error:.*(invalid value|empty slice).*:RuntimeWarning")
def test_the_evaluation_has_detector_mm_and_no_isocentre(cameraless: Path, tmp_path: Path) -> None:
    """Predictions 3 and 4 px off: 5 px of 5.80 mm (1436 px of 0.194 mm on 48); nothing can be said at the isocentre."""
    dataset = XrayDataset(cameraless)
    shift = np.tile([3.0, 4.0], (4, 14, 1))
    predictions = tmp_path / "predictions"
    spacing = 1436 * 0.194 / 48
    result = evaluate(write_predictions(predictions, dataset, shift), cameraless, tmp_path / "evaluation")
    assert result.summary.detector.visible == 52 and result.summary.detector.mean == pytest.approx(5 * spacing)
    assert result.summary.isocenter.visible == 0 and result.summary.isocenter.mean is None
    assert sorted(result.summary.specimens) == ["01", "02"] and result.report.is_file()
    table = rows(tmp_path / "evaluation" / "landmarks.csv")
    assert {row["error_isocenter_mm"] for row in table} == {""} and table[0]["error_detector_mm"] == f"{5 * spacing:.4f}"
    assert {row["rotation_from_ap_deg"] for row in rows(tmp_path / "evaluation" / "per_image.csv")} == {""}


@pytest.mark.slow
def test_a_network_is_trained_and_evaluated_on_imported_images(tmp_path: Path) -> None:
    for n in range(6):
        save(tmp_path / "in", f"image{n}", slope(24 + n, 40), halves(24 + n, 40, 1, 2))
        (tmp_path / "in" / f"image{n}.csv").write_text(f"landmark,column,row\nhilum,{10 + n},12\n", encoding="utf-8")
    data, run = tmp_path / "real", tmp_path / "run"
    open_image_folder(tmp_path / "in", LUNGS, image_size=40).write(data)
    assert main(["train", str(data), "--out", str(run), "--size", "small", "--epochs", "1", "--batch", "4", "--device", "cpu"]) == 0
    description = load_model(run / "model.pt")[1]
    assert description.source_to_detector_mm is None and description.pixel_spacing_mm == pytest.approx(XrayDataset(data).pixel_spacing_mm)
    assert main(["infer", str(run / "model.pt"), str(data), "--out", str(tmp_path / "found"), "--device", "cpu"]) == 0
    assert main(["evaluate", str(tmp_path / "found"), str(data), "--out", str(tmp_path / "evaluation")]) == 0
    assert (tmp_path / "evaluation" / "report.html").is_file()


def test_a_mirrored_camera_renders_the_mirrored_picture(hip_phantom: CaseFiles) -> None:
    """As DeepFluoro's pictures are: seen from the detector's side (determinant -1)."""
    specimen = load_specimen(hip_phantom, HIP)
    pose = CArmPose(25, 10, 5).world_to_camera(specimen.structure_centroid(HIP.poses.isocenter))
    seen, mirrored = (
        make_renderer().render(Scene(specimen), task_camera(HIP.c_arm, matrix, 48)) for matrix in (pose, np.diag([-1.0, 1, 1, 1]) @ pose)
    )
    assert seen is not None and mirrored is not None and seen.label_bits.any()
    assert np.mean(seen.label_bits != mirrored.label_bits[:, ::-1]) < 2e-3
    assert not np.array_equal(seen.label_bits, mirrored.label_bits)
