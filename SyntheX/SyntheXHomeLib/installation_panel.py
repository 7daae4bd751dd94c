"""The part of the home panel that shows what is installed, installs it and removes it again."""

from __future__ import annotations

import sys
from typing import Any

import qt
import slicer
from slicer.i18n import tr as _

from SyntheXHomeLib import packages
from SyntheXHomeLib.library_command import LibraryCommand
from SyntheXHomeLib.logic import SyntheXLogic
from SyntheXHomeLib.panels import enable
from SyntheXLib.cache import size_text
from SyntheXLib.installation import Installation, PackageState, report

_POLL_MS = 200
_PURPOSES = ("simulate", "train", "gpu", "mc", "cluster")


class InstallationPanel:
    """Rows of purposes with a button each.

    What pip installed is read from its metadata, at once; devices and DeepDRR are looked at by a child process, and shown when it is done.

    Parameters
    ----------
    ui
        The panel's widgets by name.
    logic
        The module's logic.
    changed
        Called when the data folder may have changed.
    """

    def __init__(self, ui: Any, logic: SyntheXLogic, changed: Any) -> None:
        self.ui, self.logic, self._changed = ui, logic, changed
        self.found: Installation | None = None
        self._check: LibraryCommand | None = None
        self._job: LibraryCommand | None = None
        self._timer = qt.QTimer()
        self._timer.setInterval(_POLL_MS)
        self._timer.connect("timeout()", self.poll)
        for purpose in _PURPOSES:
            self._button(purpose).connect("clicked(bool)", lambda _checked=False, purpose=purpose: self.onInstall(purpose))
        ui.reportText.setFont(qt.QFontDatabase.systemFont(qt.QFontDatabase.FixedFont))
        ui.torchInstallButton.connect("clicked(bool)", self.onInstallTorch)
        ui.deepDrrInstallButton.connect("clicked(bool)", self.onDeepDrr)
        ui.deepDrrRemoveButton.connect("clicked(bool)", self.onRemoveDeepDrr)
        ui.uninstallButton.connect("clicked(bool)", self.onUninstall)
        ui.checkButton.connect("clicked(bool)", self.check)
        ui.copyButton.connect("clicked(bool)", self.onCopy)

    def check(self) -> None:
        """Start to look at everything anew."""
        if self._check is None:
            self._check = self.logic.check()
            self._timer.start()
        self.update()

    def close(self) -> None:
        """End what runs."""
        self._timer.stop()
        for command in (self._check, self._job):
            if command is not None:
                command.close()
        self._check = self._job = None

    def poll(self) -> None:
        """See how far the child processes are."""
        if self._check is not None and self._check.finished():
            self.found = self._readCheck(self._check)
            self._check.close()
            self._check = None
            self.update()
        if self._job is not None:
            self.ui.jobLabel.text = self._job.message()
            if self._job.finished():
                self._endJob(self._job)
        if self._check is None and self._job is None:
            self._timer.stop()

    # What is shown

    def update(self) -> None:
        """Write the rows and enable what can be done."""
        states = self.logic.packages()
        torch = next(state for state in states if state.name == "torch")
        for purpose in _PURPOSES:
            self._showPurpose(purpose, [state for state in states if state.purpose == purpose and state is not torch], torch)
        self._showTorch(torch)
        self._showDeepDrr()
        removable = packages.removablePackages()
        text = _("Remove {packages}").format(packages=", ".join(removable))
        enable(self.ui.uninstallButton, text, "" if removable else _("SyntheX has installed nothing that could be removed."))
        checking = _("Looking at what works ...") if self._check is not None else ""
        enable(self.ui.checkButton, _("Look again at what is installed and what works"), checking)
        enable(self.ui.copyButton, _("Copy the report to the clipboard"), "" if self.found else checking or _("Check first."))
        self.ui.devicesLabel.text = checking or self._devices()
        text = report(self.found) if self.found else checking
        if self.ui.reportText.plainText != text:  # setting it anew would scroll it back
            self.ui.reportText.plainText = text

    def _showPurpose(self, purpose: str, states: list[PackageState], torch: PackageState) -> None:
        wrong = [state for state in states if state.problem]
        missing = [state.name for state in wrong if state.version is None]
        old = [f"{state.name} {state.version} ({state.problem})" for state in wrong if state.version is not None]
        texts = ([_("missing: {names}").format(names=", ".join(missing))] if missing else []) + old
        label = getattr(self.ui, f"{purpose}StateLabel")
        label.text = "; ".join(texts) or _("installed")
        label.toolTip = "\n".join(f"{state.name} {state.version or _('missing')}: {state.use}" for state in states)
        lacks = "" if packages.missingRequirements(states) else _("Nothing is missing.")
        if purpose == "train" and torch.problem:
            lacks = _("Install PyTorch first.")
        enable(self._button(purpose), _("Let pip install {names}").format(names=", ".join(state.name for state in wrong)), lacks)

    def _showTorch(self, torch: PackageState) -> None:
        device = f", {self.found.torch_devices[0]}" if self.found and self.found.torch_devices and torch.version else ""
        problem = f" ({torch.problem})" if torch.problem else ""
        self.ui.torchStateLabel.text = f"{torch.version}{problem}{device}" if torch.version else _("missing")
        self.ui.torchStateLabel.toolTip = _("Networks compute with it; training and inference need it.")
        button = self.ui.torchInstallButton
        if packages.hasTorchExtension() or not torch.problem:
            button.text, what = _("Install"), _("Let the PyTorch extension install torch for this graphics card")
        else:
            button.text, what = _("Extension"), _("Install Slicer's extension PyTorch, which then installs torch")
        enable(button, what, "" if torch.problem else _("torch is installed."))

    def _showDeepDrr(self) -> None:
        running, found = self._job is not None, self.found
        names = {"works": _("works"), "missing": _("missing"), "broken": _("broken"), "no CUDA": _("needs an NVIDIA GPU")}
        self.ui.deepDrrStateLabel.text = _("being made ...") if running else names[found.deepdrr] if found else "..."
        sentence = found.deepdrr_sentence if found else _("Not looked at yet.")
        self.ui.deepDrrStateLabel.toolTip = sentence
        button = self.ui.deepDrrInstallButton
        button.text = _("Cancel") if running else _("Make")
        can = found is not None and found.deepdrr in ("missing", "broken")
        what = _("End it; nothing stays behind") if running else _("Make an environment of its own for DeepDRR (GPL-3), some 6 GB")
        lacks = _("It is being cancelled.") if self._job is not None and self._job.cancelled else "" if running or can else sentence
        enable(button, what, lacks)
        size = self.logic.dataSizes()["deepdrr"] if not running else 0
        text = _("Delete DeepDRR's environment ({size})").format(size=size_text(size))
        gone = _("It is being made.") if running else "" if size else _("There is no environment of DeepDRR in the data folder.")
        enable(self.ui.deepDrrRemoveButton, text, gone)
        self.ui.jobBar.visible = running
        self.ui.jobLabel.visible = running or self.ui.jobLabel.text != ""

    def _devices(self) -> str:
        if self.found is None:
            return _("Not looked at yet: press Check again.")
        devices = ", ".join(self.found.torch_devices) or _("nothing, torch is missing")
        warp = any(state.purpose == "gpu" and state.version for state in self.found.packages)
        cuda = self.found.cuda_ray_caster if warp else _("not installed")
        return _("Rays: {rays}; with CUDA: {cuda}\nNetworks: {devices}").format(rays=self.found.ray_caster, cuda=cuda, devices=devices)

    def _button(self, purpose: str) -> Any:
        return getattr(self.ui, f"{purpose}InstallButton")

    # What is done

    def onInstall(self, purpose: str) -> None:
        """Install the packages of a purpose."""
        with slicer.util.tryWithErrorDisplay(_("The packages could not be installed."), waitCursor=True):
            packages.install(purpose)
            # Told by what is there: in testing mode Slicer installs nothing.
            self._tell(not packages.missingRequirements(state for state in self.logic.packages() if state.purpose == purpose))
        self.check()

    def onInstallTorch(self) -> None:
        """Install torch by the extension, or the extension."""
        with slicer.util.tryWithErrorDisplay(_("PyTorch could not be installed."), waitCursor=True):
            if packages.hasTorchExtension():
                self._tell(packages.installTorch())
            else:
                packages.installTorchExtension()
                self.ui.statusLabel.text = _("The extension PyTorch works after the next start of Slicer.")
        self.check()

    def _tell(self, installed: bool) -> None:
        self.ui.statusLabel.text = _("Installed.") if installed else _("Nothing was installed.")

    def onUninstall(self) -> None:
        """Remove what SyntheX installed."""
        with slicer.util.tryWithErrorDisplay(_("The packages could not be removed."), waitCursor=True):
            removed = packages.uninstall()
            again = _(" Restart Slicer: some are still in its memory.") if any(name in sys.modules for name in removed) else ""
            self.ui.statusLabel.text = _("{count} packages removed.").format(count=len(removed)) + again
        self.check()

    def onDeepDrr(self) -> None:
        """Make the environment, or end that."""
        if self._job is not None:
            self._job.cancel()
        else:
            text = _("Download and install DeepDRR (GPL-3) and what it needs, some 6 GB, into {folder}?")
            if slicer.util.confirmOkCancelDisplay(text.format(folder=self.logic.dataFolder()), _("SyntheX")):
                self._job = self.logic.installDeepDrr()
                self._timer.start()
        self.update()

    def _endJob(self, job: LibraryCommand) -> None:
        """Tell how the making of the environment ended, and look again."""
        text = "" if job.status == 0 else _("Cancelled.") if job.cancelled else job.message()
        self._job = None
        job.close()
        self.ui.jobLabel.text = text
        self._changed()
        self.check()

    def onRemoveDeepDrr(self) -> None:
        """Delete the environment."""
        text = _("Delete DeepDRR's environment in {folder}?").format(folder=self.logic.dataFolder())
        if not slicer.util.confirmOkCancelDisplay(text, _("SyntheX")):
            return
        with slicer.util.tryWithErrorDisplay(_("The environment could not be deleted."), waitCursor=True):
            freed = self.logic.emptyData(["deepdrr"])
            self.ui.statusLabel.text = _("Deleted {size}.").format(size=size_text(freed))
        self._changed()
        self.check()

    def onCopy(self) -> None:
        """Put the report on the clipboard."""
        qt.QApplication.clipboard().setText(self.ui.reportText.plainText)

    def _readCheck(self, check: LibraryCommand) -> Installation | None:
        try:
            return Installation.from_json(check.output())
        except (ValueError, TypeError, KeyError):
            self.ui.statusLabel.text = _("What works could not be found out: {reason}").format(reason=check.message())
            return None
