"""The panel of the home module under the stand-in for Slicer's application."""

import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any
from unittest.mock import Mock

import pytest
from standin.window import picture

ROOT = Path(__file__).resolve().parents[2]


class FakeCommand:
    """A child process that ends when it is told to."""

    def __init__(self, text: str = "", status: int = 0) -> None:
        self.text, self.status, self.done, self.cancelled, self.closed = text, status, False, False, False

    def finished(self) -> bool:
        return self.done

    def output(self) -> str:
        return self.text

    def message(self) -> str:
        return self.text.splitlines()[-1] if self.text else ""

    def cancel(self) -> None:
        self.cancelled = True

    def close(self) -> None:
        self.closed = True


def facts(**changed: Any) -> str:
    from SyntheXLib.installation import Installation, package_states

    values: dict[str, Any] = {
        "synthex": "0.1.0",
        "python": "3.12.10",
        "platform": "Linux",
        "packages": package_states(),
        "ray_caster": "cpu-patch",
        "cuda_ray_caster": "cuda on NVIDIA H100",
        "torch_devices": ("cuda:0 NVIDIA H100", "cpu (2 threads)"),
        "deepdrr": "missing",
        "deepdrr_sentence": "not installed; 'synthex doctor --install-deepdrr' makes its environment.",
        "data_folder": "/cache",
        "data_sizes": {"samples": 0, "deepdrr": 0},
    }
    return Installation(**(values | changed)).to_json()


@pytest.fixture
def home(slicer_gui: ModuleType, scene: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[SimpleNamespace]:
    """The panel over an empty data folder, with the other modules there, and a check that waits to be ended."""
    from standin.application import load_module

    monkeypatch.setenv("SYNTHEX_CACHE", str(tmp_path / "cache"))
    for settings in (slicer_gui.app.userSettings(), slicer_gui.app.revisionUserSettings()):
        settings.clear()
    for name in ("synthexsimulate", "synthextrain", "synthexinfer"):
        monkeypatch.setattr(slicer_gui.modules, name, SimpleNamespace(), raising=False)
    opened: list[str] = []
    monkeypatch.setattr(slicer_gui.util, "selectModule", opened.append)
    monkeypatch.setattr(slicer_gui.util, "setSliceViewerLayers", Mock())
    monkeypatch.setattr(slicer_gui.util, "confirmOkCancelDisplay", Mock(return_value=True))
    module, widget, panel = load_module(ROOT / "SyntheX" / "SyntheX.py")
    check = FakeCommand(facts())
    monkeypatch.setattr(widget.logic, "check", Mock(return_value=check))
    yield SimpleNamespace(module=module, widget=widget, ui=widget.ui, panel=panel, check=check, opened=opened, cache=tmp_path / "cache")
    widget.cleanup()


def test_the_panel_fits_a_column_of_400_pixels_and_is_seen_in_both_styles(home: SimpleNamespace) -> None:
    home.widget.enter()
    home.check.done = True
    home.widget.installation.poll()
    home.ui.reportSection.collapsed = False
    home.panel.show()
    assert home.panel.minimumSizeHint().width() <= 400
    picture(home.panel, "SyntheX_light")
    picture(home.panel, "SyntheX_dark", dark=True)


def test_setup_starts_nothing_and_a_visit_looks_once(home: SimpleNamespace) -> None:
    home.widget.logic.check.assert_not_called()
    assert home.ui.deepDrrInstallButton.enabled is False
    home.widget.enter()
    home.widget.enter()
    home.widget.logic.check.assert_called_once_with()
    assert home.ui.devicesLabel.text == "Looking at what works ..."
    assert home.ui.checkButton.toolTip == "Looking at what works ..."
    home.check.done = True
    home.widget.installation.poll()
    home.widget.enter()
    home.widget.logic.check.assert_called_once_with()
    assert home.check.closed
    assert "Networks: cuda:0 NVIDIA H100, cpu (2 threads)" in home.ui.devicesLabel.text
    assert home.ui.reportText.plainText.startswith("synthex 0.1.0, Python 3.12.10, Linux")
    assert home.ui.checkButton.enabled


def test_a_check_that_fails_says_why(home: SimpleNamespace) -> None:
    home.check.text, home.check.done = "No module named SyntheXLib", True
    home.widget.enter()
    home.widget.installation.poll()
    assert home.ui.statusLabel.text == "What works could not be found out: No module named SyntheXLib"
    assert home.ui.checkButton.enabled


def test_the_report_is_that_of_the_doctor_and_can_be_copied(home: SimpleNamespace) -> None:
    from PySide6.QtGui import QGuiApplication

    from SyntheXLib.installation import Installation, report

    assert home.ui.copyButton.toolTip == "Check first."
    home.check.done = True
    home.widget.enter()
    home.widget.installation.poll()
    home.ui.copyButton.click()
    assert QGuiApplication.clipboard().text() == report(Installation.from_json(facts()))


def test_rows_say_what_is_missing_and_install_it(home: SimpleNamespace, monkeypatch: pytest.MonkeyPatch) -> None:
    from SyntheXHomeLib import packages
    from SyntheXLib.installation import PackageState

    def state(name: str, purpose: str, version: str | None, problem: str = "") -> PackageState:
        return PackageState(name, f"{name}>=2", purpose, "something", version, problem)

    states = [
        state("h5py", "simulate", "3.1"),
        state("torch", "train", None, "missing"),
        state("monai", "train", None, "missing"),
        state("numba", "mc", "1.0", "numba>=2 is needed"),
    ]
    monkeypatch.setattr(packages, "package_states", lambda: tuple(states))
    monkeypatch.setattr(home.widget.logic, "packages", lambda: tuple(states))
    home.widget.installation.update()
    ui = home.ui
    assert (ui.simulateStateLabel.text, ui.simulateInstallButton.toolTip) == ("installed", "Nothing is missing.")
    assert (ui.trainStateLabel.text, ui.trainInstallButton.toolTip) == ("missing: monai", "Install PyTorch first.")
    assert ui.mcStateLabel.text == "numba 1.0 (numba>=2 is needed)"
    assert [ui.simulateInstallButton.enabled, ui.trainInstallButton.enabled, ui.mcInstallButton.enabled] == [False, False, True]
    assert (ui.torchStateLabel.text, ui.torchInstallButton.text) == ("missing", "Extension")
    monkeypatch.setattr(packages, "hasTorchExtension", lambda: True)
    installed = Mock(side_effect=lambda: states.__setitem__(1, state("torch", "train", "2.9")) or True)
    monkeypatch.setattr(packages, "installTorch", installed)
    home.widget.installation.update()
    ui.torchInstallButton.click()
    installed.assert_called_once_with()
    assert ui.statusLabel.text == "Installed."
    assert ui.torchInstallButton.toolTip == "torch is installed."
    assert ui.trainInstallButton.enabled
    monkeypatch.setattr(packages, "install", Mock(return_value=False))
    ui.trainInstallButton.click()
    packages.install.assert_called_once_with("train")
    assert ui.statusLabel.text == "Nothing was installed."


def test_the_extension_for_torch_is_installed_where_it_is_missing(
    home: SimpleNamespace, slicer_gui: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    from SyntheXHomeLib import packages
    from SyntheXLib.installation import PackageState

    missing = (PackageState("torch", "torch>=2.8", "train", "networks", None, "missing"),)
    monkeypatch.setattr(home.widget.logic, "packages", lambda: missing)
    manager = Mock()
    monkeypatch.setattr(type(slicer_gui.app), "extensionsManagerModel", lambda app: manager, raising=False)
    home.widget.installation.update()
    home.ui.torchInstallButton.click()
    manager.installExtensionFromServer.assert_called_once_with("PyTorch")
    assert home.ui.statusLabel.text == "The extension PyTorch works after the next start of Slicer."
    manager.installExtensionFromServer.return_value = False
    with pytest.raises(packages.SyntheXError, match="extension PyTorch was not installed"):
        packages.installTorchExtension()


def test_what_was_installed_is_uninstalled_by_a_button(home: SimpleNamespace, monkeypatch: pytest.MonkeyPatch) -> None:
    from SyntheXHomeLib import packages

    assert home.ui.uninstallButton.toolTip == "SyntheX has installed nothing that could be removed."
    there = ["h5py", "monai"]
    monkeypatch.setattr(packages, "removablePackages", lambda: list(there))
    monkeypatch.setattr(packages, "uninstall", Mock(side_effect=lambda: [there.pop(), there.pop()]))
    home.widget.installation.update()
    assert (home.ui.uninstallButton.enabled, home.ui.uninstallButton.toolTip) == (True, "Remove h5py, monai")
    home.ui.uninstallButton.click()
    assert home.ui.statusLabel.text.startswith("2 packages removed.")
    assert not home.ui.uninstallButton.enabled


def test_the_environment_of_deepdrr_is_made_cancelled_and_removed(home: SimpleNamespace, monkeypatch: pytest.MonkeyPatch) -> None:
    ui, job = home.ui, FakeCommand("making an environment with python3.12 ...")
    monkeypatch.setattr(home.widget.logic, "installDeepDrr", Mock(return_value=job))
    home.check.done = True
    home.widget.enter()
    home.widget.installation.poll()
    assert (ui.deepDrrStateLabel.text, ui.deepDrrInstallButton.text, ui.jobBar.visible) == ("missing", "Make", False)
    home.panel.show()
    ui.deepDrrInstallButton.click()
    home.widget.installation.poll()
    assert (ui.deepDrrInstallButton.text, ui.jobBar.visible, ui.deepDrrRemoveButton.toolTip) == ("Cancel", True, "It is being made.")
    assert ui.jobLabel.text == "making an environment with python3.12 ..."
    picture(home.panel, "SyntheX_deepdrr")
    ui.deepDrrInstallButton.click()
    assert job.cancelled and ui.deepDrrInstallButton.toolTip == "It is being cancelled."
    job.done, job.status = True, 130
    home.widget.installation.poll()
    assert (ui.jobLabel.text, ui.deepDrrInstallButton.text, ui.jobBar.visible, job.closed) == ("Cancelled.", "Make", False, True)
    kept = home.cache / "deepdrr" / "environment" / "file"
    kept.parent.mkdir(parents=True)
    kept.write_bytes(bytes(2_000_000))
    home.widget.enter()
    assert ui.deepDrrRemoveButton.toolTip == "Delete DeepDRR's environment (2.0 MB)"
    ui.deepDrrRemoveButton.click()
    assert not kept.exists() and ui.statusLabel.text == "Deleted 2.0 MB."


def test_deepdrr_is_not_offered_where_it_cannot_run(home: SimpleNamespace) -> None:
    home.check.text = facts(deepdrr="no CUDA", deepdrr_sentence="a Mac has no CUDA.")
    home.check.done = True
    home.widget.enter()
    home.widget.installation.poll()
    button = home.ui.deepDrrInstallButton
    assert (home.ui.deepDrrStateLabel.text, button.enabled, button.toolTip) == ("needs an NVIDIA GPU", False, "a Mac has no CUDA.")


def fake_load(home: SimpleNamespace, scene: Any, between: Callable[[], None] = lambda: None) -> Callable[..., Any]:
    """Stands in for the logic's `loadSample`: a download in two steps, then nodes."""
    from SyntheXHomeLib.handover import markAsSample

    def load(name: str, progress: Callable[[int, int], None]) -> Any:
        progress(10_000_000, 40_000_000)
        between()
        progress(40_000_000, 40_000_000)
        nodes = [scene.AddNewNodeByClass(f"vtkMRML{kind}Node", name) for kind in ("ScalarVolume", "LabelMapVolume", "MarkupsFiducial")]
        markAsSample(name, *nodes)
        return tuple(nodes)

    return load


def test_a_sample_is_loaded_with_progress_and_given_to_simulate(home: SimpleNamespace, scene: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from SyntheXSimulateLib.logic import SyntheXSimulateLogic

    ui, seen = home.ui, []
    assert ui.loadButton.text == "Download and load"
    assert "To be downloaded: 38.0 MB" in ui.sampleLabel.text
    assert not ui.sampleThumbnail.pixmap.isNull()
    home.panel.show()

    def between() -> None:
        seen.append((ui.loadBar.visible, ui.loadBar.value / ui.loadBar.maximum, ui.loadButton.toolTip, ui.sampleBox.enabled))

    monkeypatch.setattr(home.widget.logic, "loadSample", fake_load(home, scene, between))
    assert ui.simulateButton.toolTip == "Open the module SyntheXSimulate"
    ui.loadButton.click()
    assert seen == [(True, 0.25, "A sample is being loaded.", False)]
    assert (ui.statusLabel.text, ui.loadBar.visible, ui.loadButton.enabled) == ("Loaded pelvis.", False, True)
    assert ui.simulateButton.toolTip == "Open the module SyntheXSimulate with the sample pelvis"
    ui.simulateButton.click()
    assert home.opened == ["SyntheXSimulate"]
    parameters = SyntheXSimulateLogic().parameterNode()
    given = [parameters.GetNodeReference(role) for role in ("volume", "labels", "markups")]
    assert [node.GetClassName() for node in given] == [f"vtkMRML{k}Node" for k in ("ScalarVolume", "LabelMapVolume", "MarkupsFiducial")]
    other = scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "own CT")
    parameters.SetNodeReferenceID("volume", other.GetID())
    ui.simulateButton.click()
    assert parameters.GetNodeReference("volume") is other  # the user's choice stays
    scene.Clear(0)
    assert ui.simulateButton.toolTip == "Open the module SyntheXSimulate"
    ui.simulateButton.click()


def test_the_last_sample_is_taken_out_of_the_scene(home: SimpleNamespace, scene: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(home.widget.logic, "loadSample", fake_load(home, scene))
    assert home.ui.removeSampleButton.toolTip == "There is no sample in the scene."
    home.ui.loadButton.click()
    other = scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "own CT")
    home.ui.removeSampleButton.click()
    assert scene.GetFirstNodeByName("pelvis") is None and other.GetScene() is scene
    assert not home.ui.removeSampleButton.enabled


def test_a_download_is_cancelled(home: SimpleNamespace, scene: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    load = fake_load(home, scene, home.ui.cancelLoadButton.click)
    monkeypatch.setattr(home.widget.logic, "loadSample", load)
    home.ui.loadButton.click()
    assert home.ui.statusLabel.text == "Cancelled; nothing was kept."
    assert scene.GetFirstNodeByName("pelvis") is None
    assert home.ui.loadButton.enabled and not home.ui.loadBar.visible


def test_the_samples_are_registered_with_sample_data(home: SimpleNamespace, monkeypatch: pytest.MonkeyPatch) -> None:
    from SyntheXHomeLib import sample_data
    from SyntheXLib.datasets.sample import SAMPLES

    logic = Mock()
    logic.sampleDataSourcesByCategory.return_value = []
    monkeypatch.setitem(sys.modules, "SampleData", SimpleNamespace(SampleDataLogic=logic))
    loaded = Mock()
    monkeypatch.setattr(sample_data, "loadWithDialog", loaded)
    home.module.SyntheX(SimpleNamespace(path="x")).registerSamples()
    logic.registerCustomSampleDataCategory.assert_called_once_with("SyntheX", title="SyntheX")
    sources = [call.kwargs for call in logic.registerCustomSampleDataSource.call_args_list]
    assert [source["sampleName"] for source in sources] == [f"SyntheX{name.capitalize()}" for name in SAMPLES]
    assert all(Path(source["thumbnailFileName"]).is_file() for source in sources)
    sources[1]["customDownloader"](SimpleNamespace())
    loaded.assert_called_once_with("chest")
    logic.sampleDataSourcesByCategory.return_value = [SimpleNamespace(**source) for source in sources]
    logic.registerCustomSampleDataSource.reset_mock()
    home.module.SyntheX(SimpleNamespace(path="x")).registerSamples()
    logic.registerCustomSampleDataSource.assert_not_called()  # not twice


def test_train_and_infer_are_opened_with_what_was_made_last(
    home: SimpleNamespace, slicer_gui: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from SyntheXHomeLib.settings import LAST_DATASET, LAST_MODEL, remember

    fields = SimpleNamespace(datasetPath=SimpleNamespace(currentPath=""), modelPath=SimpleNamespace(currentPath=""))
    for name in ("SyntheXTrainWidget", "SyntheXInferWidget"):
        monkeypatch.setattr(slicer_gui.modules, name, SimpleNamespace(ui=fields), raising=False)
    remember(LAST_DATASET, str(tmp_path))
    remember(LAST_MODEL, str(tmp_path / "model.pt"))
    home.ui.trainButton.click()
    assert fields.datasetPath.currentPath == ""  # there is no data set in that folder
    (tmp_path / "dataset.json").write_text("{}", encoding="utf-8")
    (tmp_path / "model.pt").write_bytes(b"")
    home.widget.enter()
    assert home.ui.trainButton.toolTip == f"Open the module SyntheXTrain with the data set {tmp_path}"
    home.ui.trainButton.click()
    home.ui.inferButton.click()
    assert (fields.datasetPath.currentPath, fields.modelPath.currentPath) == (str(tmp_path), str(tmp_path / "model.pt"))
    fields.modelPath.currentPath = "my own"
    home.ui.inferButton.click()
    assert fields.modelPath.currentPath == "my own"
    assert home.opened == ["SyntheXTrain", "SyntheXTrain", "SyntheXInfer", "SyntheXInfer"]


def test_a_step_whose_module_is_not_loaded_says_so(home: SimpleNamespace, slicer_gui: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(slicer_gui.modules, "synthextrain")
    home.widget.updateSteps()
    assert (home.ui.trainButton.enabled, home.ui.trainButton.toolTip) == (False, "Slicer has not loaded the module SyntheXTrain.")


def test_the_data_folder_is_emptied_by_kind_after_a_question(
    home: SimpleNamespace, slicer_gui: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    ui = home.ui
    assert ui.dataFolderEdit.text == str(home.cache)
    assert (ui.openFolderButton.enabled, ui.emptyButton.toolTip) == (False, "There is nothing to delete.")
    files = {kind: home.cache / kind / "file" for kind in ("samples", "deepdrr", "other")}
    for file in files.values():
        file.parent.mkdir(parents=True)
        file.write_bytes(bytes(1_500_000))
    home.widget.enter()
    assert [ui.dataKindBox.itemText(i) for i in range(3)] == ["Everything: 3.0 MB", "Sample CTs: 1.5 MB", "DeepDRR environment: 1.5 MB"]
    assert ui.openFolderButton.enabled
    ui.dataKindBox.setCurrentIndex(1)
    asked = Mock(return_value=False)
    monkeypatch.setattr(slicer_gui.util, "confirmOkCancelDisplay", asked)
    ui.emptyButton.click()
    assert asked.call_args.args[0] == f"Delete 1.5 MB in {home.cache}: sample CTs?" and files["samples"].exists()
    asked.return_value = True
    ui.emptyButton.click()
    assert [file.exists() for file in files.values()] == [False, True, True]
    assert (ui.statusLabel.text, ui.emptyButton.enabled) == ("Deleted 1.5 MB.", False)
    ui.dataKindBox.setCurrentIndex(0)
    ui.emptyButton.click()
    assert [file.exists() for file in files.values()] == [False, False, True]  # what is not ours stays


def test_the_links_lead_to_pages_of_the_project(home: SimpleNamespace) -> None:
    cmake = (ROOT / "CMakeLists.txt").read_text(encoding="utf-8")
    homepage = re.findall(r'EXTENSION_HOMEPAGE "([^"]+)"', cmake)[0]
    links = re.findall(r'href="([^"]+)"', home.ui.docsLabel.text)
    assert len(links) >= 4
    for link in links:
        assert link.startswith(f"{homepage}/blob/main/")
        assert (ROOT / link.removeprefix(f"{homepage}/blob/main/")).is_file()


def test_the_panel_can_be_reloaded_while_it_looks(home: SimpleNamespace, scene: Any) -> None:
    from standin.application import load_module

    home.widget.enter()
    home.widget.cleanup()
    assert home.check.closed
    _, again, _ = load_module(ROOT / "SyntheX" / "SyntheX.py")
    scene.Clear(0)
    assert again.ui.simulateButton.enabled
    again.cleanup()


def test_the_panel_is_set_up_where_no_package_of_pip_is_installed(slicer_gui: ModuleType) -> None:
    """All of site-packages is unfindable, but for what Slicer itself brings and the stand-in for it."""
    code = """
import sys, sysconfig
from importlib.machinery import PathFinder
from pathlib import Path
SITE = Path(sysconfig.get_paths()["purelib"])
ALLOWED = ("numpy", "SimpleITK", "vtk", "slicer", "PySide6", "shiboken6")
class Installed:
    def find_spec(self, name, path=None, target=None):
        spec = PathFinder.find_spec(name, path, target)
        pip = spec is not None and SITE in Path(spec.origin or "").parents and not name.startswith(ALLOWED)
        return None if pip else spec
    find_distributions = staticmethod(PathFinder.find_distributions)
sys.meta_path = [finder for finder in sys.meta_path if finder.__module__.startswith("_frozen")]
sys.meta_path[sys.meta_path.index(PathFinder)] = Installed()
from importlib import metadata
original = metadata.Distribution.from_name.__func__
def from_name(cls, name):
    if name not in ("numpy", "SimpleITK"):
        raise metadata.PackageNotFoundError(name)
    return original(cls, name)
metadata.Distribution.from_name = classmethod(from_name)
from SyntheXHomeLib.headless import ensureScene
scene = ensureScene()
from standin import application
application.start(scene)
module, widget, panel = application.load_module(Path(sys.argv[1]))
ui = widget.ui
print(ui.simulateStateLabel.text)
print(ui.torchStateLabel.text, ui.trainInstallButton.toolTip, ui.simulateInstallButton.enabled)
blocked = {"torch", "h5py", "scipy", "PIL", "skimage", "llvmlite", "tqdm", "monai", "packaging", "pydicom"} & set(sys.modules)
print(sorted(blocked))
"""
    folders = [ROOT / module for module in ("SyntheX", "SyntheXSimulate", "SyntheXTrain", "SyntheXInfer")]
    path = os.pathsep.join([*map(str, folders), str(ROOT / "Testing/extension")])
    command = [sys.executable, "-c", code, str(ROOT / "SyntheX" / "SyntheX.py")]
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": path})
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        "missing: h5py, scikit-image, scipy, pillow, llvmlite, tqdm, pydicom, cmaes",
        "missing Install PyTorch first. True",
        "[]",
    ]
