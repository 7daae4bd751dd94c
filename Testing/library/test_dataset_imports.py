"""Data sets of others come in pixel by pixel: the SyntheX release's layouts and DeepFluoro's file."""

import json
from pathlib import Path

import h5py
import numpy as np
import pytest
import SimpleITK as sitk
from other_layouts import RELEASE_ORDER, DeepFluoro, release_image, release_labels, release_points, write_synthex_folder, write_synthex_hdf5
from PIL import Image

from SyntheXLib.cli import main
from SyntheXLib.datasets.derived import split_dataset
from SyntheXLib.datasets.importers.deepfluoro import open_deepfluoro, write_cases
from SyntheXLib.datasets.importers.imported import LOG_SPAN, area_averaged, linear_signal
from SyntheXLib.datasets.importers.synthex_folder import open_synthex_folder
from SyntheXLib.datasets.importers.synthex_hdf5 import open_synthex_hdf5
from SyntheXLib.datasets.reader import Sample, XrayDataset
from SyntheXLib.errors import SyntheXError
from SyntheXLib.rendering.display import log_image
from SyntheXLib.scene.c_arm import Camera, task_camera
from SyntheXLib.scene.case_files import CaseFiles, load_specimen
from SyntheXLib.scene.moved_structures import move_structure
from SyntheXLib.scene.view_angles import rotation_from_standard_view
from SyntheXLib.tasks.labels import exclusive_labels
from SyntheXLib.tasks.task import Task, load_task

HIP = load_task("hip")


def small_task(structures: tuple[str, ...], landmarks: tuple[str, ...] = ()) -> Task:
    return Task.from_dict(
        {
            "name": "small",
            "title": "Small",
            "segmentation": "exclusive",
            "heatmap_sigma_mm": 3.87,
            "c_arm": {"device": "cios-fusion", "crop_px": 50, "image_size": 48},
            "poses": {"isocenter": [structures[0]]},
            "structures": [{"name": name, "mirror": name, "color": [200, 60, 60]} for name in structures],
            "landmarks": [{"name": name, "mirror": name} for name in landmarks],
        }
    )


def same_up_to_scale(log: np.ndarray, other: np.ndarray) -> bool:
    a, b = ((values - values.mean()) / values.std() for values in (log, other))
    return bool(np.allclose(a, b, atol=1e-4))


def check_release_sample(sample: Sample, n: int) -> None:
    """Image, masks and landmarks are to the pixel those of `other_layouts`."""
    assert sample.image.max() == 1 and np.isclose(sample.image.min(), np.exp(-LOG_SPAN))
    assert sample.image[3, 5] == sample.image.min()  # the bright pixel of a log image is where the least signal is
    assert same_up_to_scale(log_image(sample.image), release_image(n, 48))
    assert np.array_equal(exclusive_labels(sample.mask, 6), release_labels(48))
    assert np.array_equal(sample.landmarks, release_points(n).astype(np.float32))
    assert sample.visible.tolist() == [True] * 13 + [False]
    assert np.isnan(sample.world_to_camera).all() and np.isnan(sample.intrinsics).all()


def test_the_controlled_files_come_in_to_the_pixel(tmp_path: Path) -> None:
    images, labels = write_synthex_hdf5(tmp_path, {"01": 3, "04": 2}, names=RELEASE_ORDER[::-1])
    open_synthex_hdf5(images, HIP, labels, imaging_system="Cios").write(tmp_path / "data")
    dataset = XrayDataset(tmp_path / "data")
    assert len(dataset) == 5 and [one["name"] for one in dataset.header.specimens] == ["01", "04"]
    for index, (specimen, n) in enumerate([("01", 0), ("01", 1), ("01", 2), ("04", 0), ("04", 1)]):
        check_release_sample(dataset[index], n)
        parameters = dataset.parameters(index)
        assert parameters == {"specimen": specimen, "source": f"images.h5:{specimen}/projs/{n}", "imaging_system": "Cios"}
    assert np.isnan(dataset.source_to_isocenter_mm(0)) and dataset.source_to_detector_mm == 1020
    assert [len(XrayDataset(part)) for part in split_dataset(tmp_path / "data", tmp_path / "parts", None)] == [3, 2]
    open_synthex_hdf5(images, HIP, labels, specimens=["04"]).write(tmp_path / "one")
    assert {XrayDataset(tmp_path / "one").parameters(n)["specimen"] for n in range(2)} == {"04"}


@pytest.mark.parametrize(("side", "spacing"), [(180, 1.5477), (360, 0.7738), (480, 0.5804)])
def test_the_pixel_size_follows_from_the_resolution(tmp_path: Path, side: int, spacing: float) -> None:
    """1436 px of 0.194 mm on 180, 360 or 480 (training.md 1.6, 8)."""
    images, labels = write_synthex_hdf5(tmp_path, {"01": 1}, side=side)
    found = open_synthex_hdf5(images, HIP, labels)
    assert found.image_size == side and found.pixel_spacing_mm == pytest.approx(spacing, abs=5e-5)
    assert open_synthex_hdf5(images, HIP, labels, pixel_spacing_mm=0.776).pixel_spacing_mm == 0.776


def test_another_size_keeps_edges_and_means(tmp_path: Path) -> None:
    images, labels = write_synthex_hdf5(tmp_path, {"01": 1})
    open_synthex_hdf5(images, HIP, labels, image_size=24).write(tmp_path / "half")
    open_synthex_hdf5(images, HIP, labels).write(tmp_path / "whole")
    half, whole = XrayDataset(tmp_path / "half"), XrayDataset(tmp_path / "whole")
    assert half.pixel_spacing_mm == 2 * whole.pixel_spacing_mm
    assert np.allclose(half[0].image, whole[0].image.reshape(24, 2, 24, 2).mean((1, 3)), atol=1e-6)
    assert np.allclose(half[0].landmarks, (whole[0].landmarks + 0.5) / 2 - 0.5)


def test_areas_are_averaged_by_their_overlap() -> None:
    assert np.allclose(area_averaged(np.array([[0.0, 3.0, 6.0]], np.float32), (1, 2)), [[1.0, 5.0]])  # 2/3 of 0 + 1/3 of 3, and so on
    image = np.random.default_rng(0).random((1436, 700)).astype(np.float32)
    assert area_averaged(image, (360, 180)).mean() == pytest.approx(image.mean(), abs=1e-6)


def test_the_scaled_up_folders_come_in_to_the_pixel(tmp_path: Path) -> None:
    open_synthex_folder(write_synthex_folder(tmp_path / "hip", "hip"), HIP).write(tmp_path / "data")
    dataset = XrayDataset(tmp_path / "data")
    for n in range(3):
        check_release_sample(dataset[n], n)
        assert dataset.parameters(n) == {"specimen": "hip", "source": f"proj/{n:05d}.tiff", "imaging_system": None}


def test_the_manipulators_folders_have_one_file_entry_a_landmark(tmp_path: Path) -> None:
    task = small_task(("cm",), ("start", "end"))
    open_synthex_folder(write_synthex_folder(tmp_path / "cm", "tool"), task, specimen="a").write(tmp_path / "data")
    for n, sample in enumerate(XrayDataset(tmp_path / "data")[n] for n in range(3)):
        assert np.array_equal(sample.landmarks, release_points(n)[[1, 4]]) and sample.parameters["specimen"] == "a"
        assert np.array_equal(sample.mask, release_labels(48) == 1)


def test_the_covid_folders_have_white_masks_and_no_landmarks(tmp_path: Path) -> None:
    open_synthex_folder(write_synthex_folder(tmp_path / "covid", "covid"), small_task(("lesion",))).write(tmp_path / "data")
    for n, sample in enumerate(XrayDataset(tmp_path / "data")[n] for n in range(3)):
        assert np.array_equal(sample.mask, (release_labels(48) == 2) & (n != 1)) and sample.landmarks.shape == (0, 2)
        assert sample.image[3, 5] == sample.image.min()


@pytest.mark.parametrize(
    ("polarity", "intensity"), [("bone-bright", "log"), ("bone-dark", "log"), ("bone-dark", "linear"), ("bone-bright", "linear")]
)
def test_the_signal_is_low_behind_bone(polarity: str, intensity: str) -> None:
    values = np.array([[10.0, 20.0, 40.0]])
    signal = linear_signal(values if polarity == "bone-bright" else -values + 40, polarity, intensity, "x")
    assert np.all(np.diff(signal) < 0) and signal.min() >= 0 and signal.max() <= 1


@pytest.fixture(scope="module")
def fluoro(tmp_path_factory: pytest.TempPathFactory) -> DeepFluoro:
    return DeepFluoro(tmp_path_factory.mktemp("fluoro") / "full.h5")


@pytest.fixture(scope="module")
def real(fluoro: DeepFluoro) -> XrayDataset:
    folder = fluoro.path.with_name("real")
    open_deepfluoro(fluoro.path, HIP, image_size=100).write(folder)
    return XrayDataset(folder)


def test_deepfluoro_images_are_cropped_turned_and_averaged(fluoro: DeepFluoro, real: XrayDataset) -> None:
    assert len(real) == 4 and real.pixel_spacing_mm == pytest.approx(2.0) and real.source_to_detector_mm == pytest.approx(1020.0)
    assert [one["name"] for one in real.header.specimens] == list(fluoro.specimens)
    kept = fluoro.image()[50:250, 50:250].reshape(100, 2, 100, 2).mean((1, 3)) / 65487
    labels = fluoro.labels()[50:250:2, 50:250:2]
    for index in range(4):
        sample, up = real[index], fluoro.up(index % 2)
        assert np.allclose(sample.image, kept[::-1, ::-1] if up else kept, rtol=1e-5)
        expected = np.where(labels == 7, 0, labels)  # the lower sacrum is not of the task
        assert np.array_equal(exclusive_labels(sample.mask, 6), expected[::-1, ::-1] if up else expected)
        assert sample.parameters["rotated_180"] == up and sample.parameters["imaging_system"] == "Siemens Cios Fusion"
        assert sample.parameters["specimen"] == fluoro.specimens[index // 2]
        assert (sample.parameters["left_femur_good_fov"], sample.parameters["right_femur_good_fov"]) == (True, index % 2 == 0)


def test_deepfluoro_landmarks_are_where_the_ct_projects(fluoro: DeepFluoro, real: XrayDataset) -> None:
    """The 2D landmarks of the file, and the CT's landmarks through our camera, meet; so do sides and the pixels of the file's formula."""
    for index in range(4):
        sample, number, view = real[index], index // 2, index % 2
        camera = Camera(sample.world_to_camera, sample.intrinsics, real.image_shape, real.source_to_detector_mm)
        assert camera.pixel_spacing_mm == pytest.approx((2.0, 2.0))
        points = np.array([fluoro.landmarks(number)[name] * [-1, -1, 1] for name in RELEASE_ORDER])
        projected, inside = camera.project(points)
        assert np.allclose(sample.landmarks[2:], projected[2:], atol=2e-3)  # not those of the femurs
        assert np.allclose(sample.landmarks[1], projected[1], atol=2e-3)  # the right femur was not moved
        assert np.linalg.norm(sample.landmarks[0] - projected[0]) > 0.5
        assert np.array_equal(sample.visible[1:], inside[1:]) and inside.any()
        for place, name in enumerate(RELEASE_ORDER):
            whole = fluoro.points(number, view)[name]
            turned = 299 - whole if fluoro.up(view) else whole
            assert np.allclose(sample.landmarks[place], (turned - 50 + 0.5) / 2 - 0.5, atol=1e-3)
        # Head up and the patient's left at the right of the picture, as one faces him; the source is behind the patient.
        steps = camera.project(np.array([[0, 0, 0], [-20, 0, 0], [0, 0, 20.0]]))[0]
        assert steps[1, 0] > steps[0, 0] + 5 and steps[2, 1] < steps[0, 1] - 5
        assert camera.source[1] < -500 and np.linalg.det(sample.world_to_camera) == pytest.approx(-1)
        assert rotation_from_standard_view(sample.world_to_camera[None])[0] < 25
        assert real.source_to_isocenter_mm(index) == pytest.approx(700, abs=60)


def test_deepfluoro_cases_are_files_of_ours(fluoro: DeepFluoro, real: XrayDataset, tmp_path: Path) -> None:
    folders = write_cases(fluoro.path, tmp_path, HIP)
    assert [folder.name for folder in folders] == list(fluoro.specimens)
    for number, folder in enumerate(folders):
        files = CaseFiles(folder / "ct.nii.gz", folder / "labels.nii.gz", folder / "landmarks.mrk.json", folder / "label_names.csv")
        specimen = load_specimen(files, HIP)
        assert specimen.structures == HIP.structure_names
        for name, position in fluoro.landmarks(number).items():
            assert np.allclose(specimen.landmarks[name], position * [-1, -1, 1], atol=1e-3)
        # Left hemipelvis: columns 27 and 28, so L is -30 + 2 * 27.5; R is its negative.
        assert np.allclose(specimen.structure_centroid(("left_hemipelvis",)), [-25, -(-36 + 3 * 11), -40 + 4 * 9.5])
        assert specimen.hu[10, 10, 28] == 700 and specimen.hu[0, 0, 0] == -1000
        poses = json.loads((folder / "poses.json").read_text(encoding="utf-8"))
        assert [pose["name"] for pose in poses] == [f"{folder.name}/000", f"{folder.name}/001"]
        for view, pose in enumerate(poses):
            sample = real[2 * number + view]
            assert np.allclose(pose["world_to_camera"], sample.world_to_camera)
            assert sorted(pose["structures"]) == ["left_femur"] + ["right_femur"] * (view == 0)
            # The matched twin: the femur with its landmark moved as registered, seen by the task's own C-arm at that pose.
            motion = np.array(pose["structures"]["left_femur"])
            twin = move_structure(specimen, "left_femur", motion, ["FH-l"])
            camera = Camera(np.array(pose["world_to_camera"]), sample.intrinsics, real.image_shape, 1020.0)
            assert np.allclose(camera.project(twin.landmarks["FH-l"])[0][0], sample.landmarks[0], atol=5e-3)
            assert task_camera(HIP.c_arm, np.array(pose["world_to_camera"])).shape == (360, 360)


def test_matched_views_show_what_the_real_ones_show(fluoro: DeepFluoro, real: XrayDataset, tmp_path: Path) -> None:
    """Cases and poses go through ``synthex simulate --matched``; landmarks of the pelvis meet those of the real images on the detector."""
    write_cases(fluoro.path, tmp_path / "cases", HIP)
    command = ["simulate", "--cases", str(tmp_path / "cases" / "cases.csv"), "--matched", str(tmp_path / "cases" / "poses.json")]
    assert main([*command, "--level", "naive", "--image-size", "64", "--workers", "1", "--out", str(tmp_path / "twin")]) == 0
    twin = XrayDataset(tmp_path / "twin" / "naive")
    assert len(twin) == len(real) == 4
    for index in range(4):
        ours, theirs = twin[index], real[index]
        for key in ("specimen", "view"):
            assert ours.parameters[key] == theirs.parameters[key]
        on_detector = [
            (sample.landmarks - sample.intrinsics[:2, 2]) * dataset.pixel_spacing_mm for sample, dataset in ((ours, twin), (theirs, real))
        ]
        assert np.allclose(on_detector[0][1:], on_detector[1][1:], atol=5e-3)
        # Numbers 1 and 2 of the file are the left and the right hip bone: the left one lies further to the right of the picture.
        left, right = (np.nonzero(ours.mask >> bit & 1)[1].mean() for bit in (0, 1))
        assert left > right + 2


def test_the_command_writes_data_set_and_cases(fluoro: DeepFluoro, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["dataset", "import", "--layout", "deepfluoro", str(fluoro.path), "--out", str(tmp_path / "real")]
    assert main([*command, "--image-size", "64", "--specimen", "18-0725", "--cases", str(tmp_path / "cases")]) == 0
    assert len(XrayDataset(tmp_path / "real")) == 2 and (tmp_path / "cases" / "18-0725" / "poses.json").is_file()
    for action in (["check"], ["info"], ["show", "--out", str(tmp_path)]):
        assert main(["dataset", action[0], str(tmp_path / "real"), *action[1:]]) == 0
    assert (tmp_path / "images.png").is_file() and (tmp_path / "poses.png").is_file()
    assert (tmp_path / "cases" / "cases.csv").read_text(encoding="utf-8").splitlines()[0] == "name,ct,labels,landmarks,label_names"
    assert main([*command, "--masks", "bits"]) == 2
    assert "--masks does not go with --layout deepfluoro" in capsys.readouterr().err


def without(path: Path, name: str) -> None:
    with h5py.File(path, "r+") as file:
        del file[name]


def replaced(path: Path, name: str, value: object) -> None:
    without(path, name)
    with h5py.File(path, "r+") as file:
        file[name] = value


@pytest.mark.parametrize(
    ("spoil", "expected"),
    [
        (lambda images, labels: without(labels, "01/segs"), r"labels.h5:01: expected the data set 'segs', found 'lands'"),
        (lambda images, labels: without(labels, "01"), r"labels.h5: expected the group '01', found 'land-names'"),
        (lambda images, labels: without(images, "01"), r"expected groups 01, 02 ... with 'projs' in each, found nothing"),
        (lambda images, labels: replaced(labels, "01/lands", np.zeros((2, 14, 2))), r"'lands' must be 2 x 2 x 14, found 2 x 14 x 2"),
        (lambda images, labels: replaced(labels, "land-names/land-03", "nose"), r"GSN-r not found among FH-l"),
        (lambda images, labels: replaced(images, "01/projs", np.zeros((2, 48, 40))), r"'segs' must be 2 x 48 x 40, found 2 x 48 x 48"),
        (lambda images, labels: replaced(images, "01/projs", np.zeros((2, 48, 48))), r"image 0 has the same value 0 everywhere"),
        (
            lambda images, labels: replaced(labels, "01/segs", np.full((2, 48, 48), 9)),
            r"expected the labels 0, 1, 2, 3, 4, 5, 6, found also 9",
        ),
        (lambda images, labels: images.write_text("no"), r"images.h5 cannot be read: expected an HDF5 file"),
        (lambda images, labels: images.unlink(), r"images.h5 does not exist"),
    ],
)
def test_a_bad_controlled_file_is_one_sentence_and_leaves_nothing(tmp_path: Path, spoil, expected: str) -> None:
    images, labels = write_synthex_hdf5(tmp_path, {"01": 2})
    spoil(images, labels)
    before = set(tmp_path.iterdir())
    with pytest.raises(SyntheXError, match=expected):
        open_synthex_hdf5(images, HIP, labels).write(tmp_path / "data")
    assert set(tmp_path.iterdir()) == before


@pytest.mark.parametrize(
    ("spoil", "expected"),
    [
        (lambda folder: (folder / "seg" / "00001.png").unlink(), r"seg: expected a file for each of the 3 images, 1 missing \(00001"),
        (lambda folder: [p.unlink() for p in (folder / "proj").iterdir()], r"expected the folder 'proj' with .tiff or .tif or .png files"),
        (lambda folder: without(folder / "lands" / "00000.h5", "dim2"), r"expected the data set 'dim2', found 'dim1'"),
        (lambda folder: replaced(folder / "lands" / "00000.h5", "dim1", np.zeros(5)), r"'dim1' must hold 14 numbers, found 5"),
        (lambda folder: (folder / "proj" / "00002.tiff").write_text("no"), r"00002.tiff is not an image that can be read"),
        (
            lambda folder: Image.new("F", (48, 30)).save(folder / "proj" / "00002.tiff"),
            r"picture of 48 x 48 pixels, found the shape 30 x 48",
        ),
    ],
)
def test_a_bad_folder_is_one_sentence_and_leaves_nothing(tmp_path: Path, spoil, expected: str) -> None:
    folder = write_synthex_folder(tmp_path / "hip", "hip")
    spoil(folder)
    with pytest.raises(SyntheXError, match=expected):
        open_synthex_folder(folder, HIP).write(tmp_path / "data")
    assert [path.name for path in tmp_path.iterdir()] == ["hip"]


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("proj-params", None, r"full.h5: expected the group 'proj-params', found '17-1882', '18-0725'"),
        ("17-1882/projections/000/gt-poses/cam-to-pelvis-vol", np.eye(4) * 2, r"cam-to-pelvis-vol: expected a rigid transform"),
        ("17-1882/projections/001/gt-landmarks/ASIS-l", None, r"001/gt-landmarks: expected the data set 'ASIS-l'"),
        ("18-0725/projections/001/image/pixels", np.zeros((9, 9)), r"'pixels' must be 300 x 300, found 9 x 9"),
        ("18-0725/vol-seg/labels-def/5", "tail", r"no label for left_femur of task 'hip', found left-hemipelvis"),
        ("18-0725/projections/001/image/pixels", np.full((300, 300), np.nan), r"expected an X-ray image of finite numbers"),
    ],
)
def test_a_bad_deepfluoro_file_is_one_sentence_and_leaves_nothing(tmp_path: Path, name: str, value: object, expected: str) -> None:
    path = DeepFluoro(tmp_path / "full.h5").path
    if value is None:
        without(path, name)
    else:
        replaced(path, name, value)
    with pytest.raises(SyntheXError, match=expected):
        open_deepfluoro(path, HIP, image_size=50).write(tmp_path / "data")
    assert [one.name for one in tmp_path.iterdir()] == ["full.h5"]


def test_other_files_and_taken_folders_are_told(fluoro: DeepFluoro, tmp_path: Path) -> None:
    images, labels = write_synthex_hdf5(tmp_path, {"01": 1})
    with pytest.raises(SyntheXError, match="expected the group 'proj-params', found '01'"):
        open_deepfluoro(images, HIP)
    with pytest.raises(SyntheXError, match="no specimen '17-1883', expected one of 17-1882, 18-0725 \\(did you mean '17-1882'"):
        open_deepfluoro(fluoro.path, HIP, specimens=["17-1883"])
    with pytest.raises(SyntheXError, match="expected groups 01, 02"):
        open_synthex_hdf5(fluoro.path, HIP)
    with pytest.raises(SyntheXError, match="is there already and not empty"):
        open_synthex_hdf5(images, HIP, labels).write(tmp_path)


def test_a_ct_slice_of_the_case_is_readable_by_itk(fluoro: DeepFluoro, tmp_path: Path) -> None:
    (folder,) = write_cases(fluoro.path, tmp_path, HIP, ["17-1882"])
    image = sitk.ReadImage(str(folder / "ct.nii.gz"))
    assert image.GetSpacing() == pytest.approx((2, 3, 4)) and image.GetOrigin() == pytest.approx((-30, -36, -40))
    assert not [path for path in folder.iterdir() if path.name.startswith(".")]
