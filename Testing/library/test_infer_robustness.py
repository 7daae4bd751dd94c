"""`synthex infer` on what is no good image: one sentence each, the others go on, and the exit tells."""

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.encaps import encapsulate
from pydicom.uid import JPEG2000, JPEGLSLossless
from toy_network import toy_dataset, toy_task, toy_view, write_dicom, write_image

from SyntheXLib import cli
from SyntheXLib.inference import predict_images

LOG = (255 * -np.log(toy_view(0)[0]) / 3).round().astype(np.uint8)
Make = Callable[[Path], Path]


def blank(name: str, content: bytes) -> Make:
    def make(folder: Path) -> Path:
        (folder / name).write_bytes(content)
        return folder / name

    return make


def picture(name: str, values: np.ndarray, vector: bool = False) -> Make:
    return lambda folder: write_image(folder / name, values, vector=vector)


def truncated(folder: Path) -> Path:
    path = write_dicom(folder / "cut.dcm", LOG.astype(np.uint16))
    path.write_bytes(path.read_bytes()[:-700])
    return path


def with_syntax(name: str, syntax: str, pixels: bytes | None = None) -> Make:
    def make(folder: Path) -> Path:
        path = write_dicom(folder / name, LOG.astype(np.uint16))
        wrong = pydicom.dcmread(path)
        wrong.PixelData = encapsulate([pixels or wrong.PixelData])
        wrong["PixelData"].VR, wrong["PixelData"].is_undefined_length = "OB", True
        wrong.file_meta.TransferSyntaxUID = syntax
        wrong.save_as(path)
        return path

    return make


HOLES = np.where(np.eye(40, dtype=bool), np.nan, LOG.astype(np.float32))
COLOR = np.stack([LOG, np.roll(LOG, 9, 0), np.roll(LOG, 9, 1)], -1)
BAD: dict[str, tuple[Make, str]] = {
    "empty": (blank("empty.png", b""), "is empty, expected an image"),
    "empty DICOM": (blank("empty.dcm", b""), "is empty, expected an image"),
    "constant": (picture("flat.png", np.full((40, 40), 7, np.uint8)), "has the same value 7 everywhere"),
    "NaN": (picture("holes.nrrd", HOLES), "holds 40 pixels that are not finite"),
    "one pixel": (picture("one.png", np.array([[7]], np.uint8)), "has the same value 7 everywhere"),
    "one row": (picture("row.png", np.arange(200, dtype=np.uint8)[None]), "check the pixel spacing"),
    "RGB": (picture("colour.png", COLOR, vector=True), "is in colour"),
    "truncated DICOM": (truncated, "truncated or damaged"),
    "wrong transfer syntax": (with_syntax("j2k.dcm", JPEG2000), "not the JPEG 2000 Image Compression that it announces"),
    "compression without a decoder": (with_syntax("ls.dcm", JPEGLSLossless), "ls.dcm"),
    "text named .dcm": (blank("notes.dcm", b"A list of images, and no image.\n"), "holds text, expected an image"),
    "missing": (lambda folder: folder / "nothing.png", "does not exist"),
    "a folder without images": (lambda folder: (folder / "sub.png").mkdir() or folder / "sub.png", "holds no image file"),  # type: ignore[func-returns-value]
}
SIGNED = {"PixelRepresentation": 1, "BitsStored": 16, "HighBit": 15}
GOOD: dict[str, Make] = {
    "16-bit signed": picture("signed.nrrd", LOG.astype(np.int16) - 1000),
    "16-bit signed DICOM": lambda folder: write_dicom(folder / "signed.dcm", (LOG.astype(int) - 100) % 65536, **SIGNED),
    "grey in three channels": picture("grey.png", np.stack([LOG] * 3, -1), vector=True),
    "not square": picture("wide.png", np.tile(LOG, (1, 2))[:, :61]),
}


@pytest.mark.parametrize("kind", BAD)
def test_a_bad_image_is_one_sentence_and_the_others_go_on(kind: str, tmp_path: Path, toy_model: Path, capfd: pytest.CaptureFixture[str]):
    make, words = BAD[kind]
    bad = make(tmp_path)
    before, after = (write_image(tmp_path / name, LOG) for name in ("a.png", "z.png"))
    command = ["infer", str(toy_model), str(before), str(bad), str(after), "--out", str(tmp_path / "out"), "--device", "cpu"]
    code = cli.main(command)
    told = capfd.readouterr().err
    assert words in told and bad.name in told and "Traceback" not in told
    if kind == "a folder without images":
        assert code == 2  # known before the first image
        return
    assert code == 1
    sentences = [line for line in told.splitlines() if line.startswith("left out: ")]
    assert len(sentences) == 1 and sentences[0].endswith(".")
    assert {path.name for path in (tmp_path / "out").glob("*_labels.png")} == {"a_labels.png", "z_labels.png"}


@pytest.mark.parametrize("kind", GOOD)
def test_images_that_only_look_odd_are_read(kind: str, tmp_path: Path, toy_model: Path, capfd: pytest.CaptureFixture[str]):
    path = GOOD[kind](tmp_path)
    code = cli.main(["infer", str(toy_model), str(path), "--polarity", "bone-bright", "--out", str(tmp_path / "out"), "--device", "cpu"])
    assert code == 0, capfd.readouterr().err
    assert (tmp_path / "out" / f"{path.stem}_labels.png").is_file()


def test_each_image_is_done_before_the_next_is_read(tmp_path: Path, toy_model: Path, monkeypatch: pytest.MonkeyPatch):
    for n in range(4):
        write_image(tmp_path / f"{n}.png", LOG)
    read, done = predict_images.read_values, []

    def looked(path: Path):
        done.append(len(list((tmp_path / "out").glob("*_labels.png"))))
        return read(path)

    monkeypatch.setattr(predict_images, "read_values", looked)
    predict_images.predict_images(toy_model, [tmp_path], tmp_path / "out", device="cpu", overlays=False)
    assert done == [0, 1, 2, 3]  # so of 50,000 files the first is there at once, and memory does not grow with them


def test_a_model_of_another_task_is_refused_for_a_data_set(tmp_path: Path, toy_model: Path, capfd: pytest.CaptureFixture[str]):
    toy_dataset(tmp_path / "data", 2, toy_task(landmarks=False))
    assert cli.main(["infer", str(toy_model), str(tmp_path / "data"), "--out", str(tmp_path / "out"), "--device", "cpu"]) != 0
    told = capfd.readouterr().err.strip().splitlines()
    assert re.search("landmarks", told[-1]) and "Traceback" not in "".join(told)
    assert not (tmp_path / "out").exists()


def test_a_read_only_output_is_one_sentence(tmp_path: Path, toy_model: Path, capfd: pytest.CaptureFixture[str]):
    image = write_image(tmp_path / "a.png", LOG)
    target = Path("/proc/synthex-out")
    if not Path("/proc/self").exists():  # elsewhere a file where the folder should be
        target = tmp_path / "file" / "out"
        (tmp_path / "file").write_text("x", encoding="utf-8")
    assert cli.main(["infer", str(toy_model), str(image), "--out", str(target), "--device", "cpu"]) != 0
    told = capfd.readouterr().err
    assert str(target) in told and "Traceback" not in told and len([line for line in told.splitlines() if str(target) in line]) == 1
