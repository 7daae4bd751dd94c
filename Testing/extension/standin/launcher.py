"""Takes the place of the program Slicer in tests of the build: the options that CTest gives it, the stand-in's window, real MRML.

Python is ``python launcher.py --no-splash --testing --additional-module-paths FOLDER --python-code CODE``; the exit status says whether the
code raised. SLICER_PYTHON_DIR names Slicer's own Python files.
"""

import argparse
import sys
from pathlib import Path


def main() -> int:
    """Load the modules and run the code."""
    parser = argparse.ArgumentParser(allow_abbrev=False)
    for switch in ("--no-splash", "--testing", "--no-main-window", "--ignore-slicerrc", "--disable-cli-modules"):
        parser.add_argument(switch, action="store_true")
    parser.add_argument("--additional-module-path", "--additional-module-paths", dest="folders", nargs="+", action="extend", default=[])
    parser.add_argument("--python-code", required=True)
    options = parser.parse_args()
    # Slicer puts the folders of its modules on the path; this script's own, which Python puts there, is of no module.
    folders = [Path(folder) for folder in options.folders if Path(folder).is_dir()]
    sys.path[:1] = [*map(str, folders), str(Path(__file__).parents[1])]
    from standin import application
    from SyntheXHomeLib.headless import ensureScene

    application.start(ensureScene())
    for path in sorted({path.name: path for folder in folders for path in folder.glob("*.py")}.values()):
        application.register_module(path)
    exec(options.python_code, {"__name__": "__main__"})
    return 0


if __name__ == "__main__":
    sys.exit(main())
