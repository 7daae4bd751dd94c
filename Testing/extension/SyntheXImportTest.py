"""The library in the Python that runs this: plain unittest, for Slicer has no pytest."""

import importlib
import pkgutil
import unittest

import SyntheXLib

# They may need torch at file scope; all else needs nothing beyond what Slicer ships.
TORCH_PACKAGES = ("SyntheXLib.networks", "SyntheXLib.training", "SyntheXLib.randomization")
# Compiled by numba, which is optional: imported where a simulation starts, and a script that rebuilds a table.
NUMBA_FILES = ("SyntheXLib.physics.monte_carlo.transport", "SyntheXLib.physics.tables.build_scatter")


class SyntheXImportTest(unittest.TestCase):
    """Imports what must be importable before any pip package is installed."""

    def test_every_file_of_the_library_but_the_torch_packages_imports_without_pip_packages(self) -> None:
        names = [info.name for info in pkgutil.walk_packages(SyntheXLib.__path__, "SyntheXLib.")]
        names = [name for name in names if not name.startswith(tuple(package + "." for package in TORCH_PACKAGES))]
        names = [name for name in names if name not in NUMBA_FILES]
        self.assertIn("SyntheXLib.scene.specimen", names)
        for name in names:
            with self.subTest(name):
                importlib.import_module(name)
