"""Files as others wrote them, made from the layouts' descriptions with h5py and Pillow alone."""

from pathlib import Path

import h5py
import numpy as np
from PIL import Image

RELEASE_ORDER = (
    "FH-l",
    "FH-r",
    "GSN-l",
    "GSN-r",
    "IOF-l",
    "IOF-r",
    "MOF-l",
    "MOF-r",
    "SPS-l",
    "SPS-r",
    "IPS-l",
    "IPS-r",
    "ASIS-l",
    "ASIS-r",
)
DEEPFLUORO_LABELS = ("left-hemipelvis", "right-hemipelvis", "vertebrae", "upper-sacrum", "left-femur", "right-femur", "lower-sacrum")


def release_image(n: int, side: int) -> np.ndarray:
    """Log image, bone bright: a slope along the columns, steeper for each image, with one bright pixel at row 3, column 5."""
    image = np.tile(np.arange(side, dtype=np.float32) * (n + 1), (side, 1))
    image[3, 5] = side * (n + 2)
    return image


def release_labels(side: int) -> np.ndarray:
    """Labels 1 to 6 in the rows 0 to 5, each four columns wide beginning at its number."""
    labels = np.zeros((side, side), np.uint8)
    for number in range(1, 7):
        labels[number - 1, number : number + 4] = number
    return labels


def release_points(n: int) -> np.ndarray:
    """(14, 2) column 2 l + n, row l; the last far outside."""
    points = np.array([[2.0 * place + n, place] for place in range(14)])
    points[13] = -50, 700
    return points


def write_synthex_hdf5(folder: Path, counts: dict[str, int], side: int = 48, names: tuple[str, ...] = RELEASE_ORDER) -> tuple[Path, Path]:
    """Image file and label file of the controlled study; `names` is the order of the landmarks in the label file."""
    images, labels = folder / "images.h5", folder / "labels.h5"
    with h5py.File(images, "w") as file:
        for specimen, count in counts.items():
            values = np.stack([release_image(n, side) for n in range(count)])
            file.create_dataset(f"{specimen}/projs", data=values, chunks=(1, side, side), compression="gzip", compression_opts=9)
    with h5py.File(labels, "w") as file:
        order = [RELEASE_ORDER.index(name) for name in names]
        for specimen, count in counts.items():
            file[f"{specimen}/segs"] = np.stack([release_labels(side)] * count)
            file[f"{specimen}/lands"] = np.stack([release_points(n)[order].T for n in range(count)]).astype(np.float32)
        file["land-names/num-lands"] = len(names)
        for place, name in enumerate(names):
            file[f"land-names/land-{place:02d}"] = name
    return images, labels


def write_synthex_folder(folder: Path, kind: str, count: int = 3, side: int = 48) -> Path:
    """``hip``, ``tool`` or ``covid``: the three variants of the scaled-up folders."""
    for name in ("proj", "seg", "lands"):
        (folder / name).mkdir(parents=True)
    for n in range(count):
        stem, labels = f"{n:05d}", release_labels(side)
        if kind == "covid":
            gray = (release_image(n, side) / release_image(n, side).max() * 255).astype(np.uint8)
            Image.fromarray(gray).save(folder / "proj" / f"{stem}.png")
            Image.fromarray((labels == 2).astype(np.uint8) * 255 * (n != 1)).save(folder / "seg" / f"{stem}.png")  # image 1: no lesion
            continue
        Image.fromarray(release_image(n, side)).save(folder / "proj" / f"{stem}.tiff")
        suffix = "png" if kind == "hip" else "tiff"
        Image.fromarray(labels if kind == "hip" else (labels == 1).astype(np.uint8)).save(folder / "seg" / f"{stem}.{suffix}")
        with h5py.File(folder / "lands" / f"{stem}.h5", "w") as file:
            points = release_points(n)
            if kind == "hip":
                file["dim1"], file["dim2"] = points[:, 0], points[:, 1]
            else:
                file["ld1"], file["ld2"] = points[1], points[4]
    return folder


class DeepFluoro:
    """A small file of the full-resolution layout: a detector of 300 px, two specimens, landmarks projected by the printed formula.

    Labels of the CT are boxes, side by side from left (1) to right. Each projection's grey value falls along the columns; its labels are 1
    left and 2 right of the middle column, 7 in the first 60 rows.
    """

    side, spacing, distance = 300, 1.0, 1020.0
    specimens = ("17-1882", "18-0725")
    views = 2

    def __init__(self, path: Path) -> None:
        self.path = path
        focal, middle = self.distance / self.spacing, (self.side - 1) / 2
        # z from the detector to the source: what is in front has z < 0, so the focal lengths are negative.
        self.intrinsic = np.array([[-focal, 0, middle], [0, -focal, middle], [0, 0, 1.0]])
        self.extrinsic = rigid(3.0, (2.0, -1.0, 4.0))
        with h5py.File(path, "w") as file:
            group = file.create_group("proj-params")
            group["extrinsic"], group["intrinsic"] = self.extrinsic.astype(np.float32), self.intrinsic.astype(np.float32)
            for name, value in (("num-cols", self.side), ("num-rows", self.side)):
                group[name] = value
            for name in ("pixel-col-spacing", "pixel-row-spacing"):
                group[name] = np.float32(self.spacing)
            for number, name in enumerate(self.specimens):
                self._write_specimen(file.create_group(name), number)

    def landmarks(self, number: int) -> dict[str, np.ndarray]:
        """LPS, mm: spread over the pelvis, a little elsewhere in each specimen."""
        return {name: np.array([26.0 - 4 * place, 3.0 * number + place, -20 + 3.0 * place]) for place, name in enumerate(RELEASE_ORDER)}

    def pose(self, number: int, view: int, bone: str) -> np.ndarray:
        """Camera world to CT LPS: the source stands 700 mm behind the supine patient, head up in the image."""
        # Columns of the rotation: x to the patient's left (L), y downwards (-S), z from detector to source (P).
        axes = np.eye(4)
        axes[:3, :3] = np.array([[1.0, 0, 0], [0, 0, -1], [0, 1, 0]]).T
        back = np.eye(4)
        back[:3, 3] = 0, 0, 700.0  # the source's place in the CT, before the turn
        turned = self.turn(number, view)
        moved = rigid(4.0, (3.0, 1.0, -2.0)) if bone == "left-femur" else np.eye(4)
        half_turn = np.diag([-1.0, -1, 1, 1]) if self.up(view) else np.eye(4)
        return moved @ turned @ axes @ back @ half_turn @ self.extrinsic

    def turn(self, number: int, view: int) -> np.ndarray:
        """How the specimen lies in the room."""
        return rigid(8.0 * view + 5 * number, (6.0 * view, 4.0, -3.0 * number))

    def up(self, view: int) -> bool:
        return view == 1

    def project(self, number: int, view: int, point: np.ndarray, bone: str = "pelvis") -> np.ndarray:
        """Column and row on the whole detector: intrinsic * extrinsic * inverse(cam-to-vol) * point, divided by the third."""
        homogeneous = self.extrinsic @ np.linalg.inv(self.pose(number, view, bone)) @ [*point, 1.0]
        pixel = self.intrinsic @ homogeneous[:3]
        assert homogeneous[2] < 0
        return pixel[:2] / pixel[2]

    def points(self, number: int, view: int) -> dict[str, np.ndarray]:
        """Column and row on the whole detector; the left femoral head goes with its femur."""
        bones = {"FH-l": "left-femur", "FH-r": "right-femur"}
        return {name: self.project(number, view, at, bones.get(name, "pelvis")) for name, at in self.landmarks(number).items()}

    def volume(self, number: int) -> tuple[np.ndarray, np.ndarray, tuple[float, ...], tuple[float, ...]]:
        """HU and labels (K, J, I), spacing and origin (x, y, z), LPS, mm."""
        labels = np.zeros((20, 24, 30), np.uint8)
        for label in range(1, 8):
            labels[2:18, 3:20, 31 - 4 * label : 33 - 4 * label] = label
        return np.where(labels > 0, 700, -1000).astype(np.float32), labels, (2.0, 3.0, 4.0), (-30.0, -36.0, -40.0)

    def picture(self, number: int, view: int) -> tuple[np.ndarray, np.ndarray]:
        """Grey values and labels of a projection."""
        return self.image(), self.labels()

    def _write_specimen(self, group: h5py.Group, number: int) -> None:
        hu, labels, spacing, origin = self.volume(number)
        for place, values in (("vol", hu), ("vol-seg/image", labels)):
            group[f"{place}/pixels"] = values
            group[f"{place}/spacing"] = np.array(spacing, np.float32)[:, None]
            group[f"{place}/origin"] = np.array(origin, np.float32)[:, None]
            group[f"{place}/dir-mat"] = np.eye(3, dtype=np.float32)
        for label, name in enumerate(DEEPFLUORO_LABELS, 1):
            group[f"vol-seg/labels-def/{label}"] = name
        for name, position in self.landmarks(number).items():
            group[f"vol-landmarks/{name}"] = position.reshape(3, 1).astype(np.float32)
        for view in range(self.views):
            projection = group.create_group(f"projections/{view:03d}")
            projection["image/pixels"], projection["gt-seg/pixels"] = self.picture(number, view)
            projection["image/spacing"] = np.full((2, 1), self.spacing, np.float32)
            for name, point in self.points(number, view).items():
                projection[f"gt-landmarks/{name}"] = point.reshape(2, 1).astype(np.float32)
            for bone in ("pelvis", "left-femur", "right-femur"):
                projection[f"gt-poses/cam-to-{bone}-vol"] = self.pose(number, view, bone).astype(np.float32)
            projection["gt-poses/left-femur-good-fov"], projection["gt-poses/right-femur-good-fov"] = 1, int(view == 0)
            projection["rot-180-for-up"] = int(self.up(view))

    def image(self) -> np.ndarray:
        return np.tile(60000.0 - 100 * np.arange(self.side, dtype=np.float32), (self.side, 1))

    def labels(self) -> np.ndarray:
        labels = np.ones((self.side, self.side), np.uint8)
        labels[:, self.side // 2 :] = 2
        labels[:60] = 7
        return labels


def rigid(degrees: float, shift: tuple[float, float, float]) -> np.ndarray:
    """(4, 4): a turn about the direction (1, 2, 2) / 3, and a shift."""
    axis, angle = np.array([1.0, 2.0, 2.0]) / 3, np.deg2rad(degrees)
    cross = np.array([[0, -axis[2], axis[1]], [axis[2], 0, -axis[0]], [-axis[1], axis[0], 0]])
    matrix = np.eye(4)
    matrix[:3, :3] = np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross
    matrix[:3, 3] = shift
    return matrix
