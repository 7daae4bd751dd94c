"""Simulate a data set from the nodes of a case, here the sample pelvis; the same as ``synthex simulate``.

In Slicer:        Slicer --no-splash --no-main-window --python-script Docs/batch/simulate.py --out data
In plain Python:  python Docs/batch/simulate.py --out data        (pip install ".[train,mrml]")
"""

import argparse
import sys
from pathlib import Path

from SyntheXHomeLib.headless import ensureScene
from SyntheXHomeLib.logic import SyntheXLogic
from SyntheXLib.errors import SyntheXError
from SyntheXLib.simulation.view import ViewSettings
from SyntheXSimulateLib.case_writer import CaseNodes
from SyntheXSimulateLib.dataset import generate


def main() -> int:
    """Run the script."""
    parser = argparse.ArgumentParser(description="Simulate labelled X-rays of the sample pelvis.")
    parser.add_argument("--out", type=Path, required=True, help="data set folder; started again, the script goes on with it")
    parser.add_argument("--count", type=int, default=50, help="number of images")
    parser.add_argument("--image-size", type=int, default=128, help="pixels a side")
    parser.add_argument("--seed", type=int, default=1, help="image i depends on the seed and i alone")
    options = parser.parse_args()
    ensureScene()
    # Your own case: nodes of CT, label map and landmarks, loaded in whichever way.
    volume, labelmap, markups = SyntheXLogic().loadSample("pelvis")
    case = CaseNodes(volume, labelmap, markups)
    try:
        result = generate(options.out, [case], "hip", options.count, options.seed, ViewSettings(image_size=options.image_size))
    except SyntheXError as error:
        print(error, file=sys.stderr)
        return 2
    print(f"{options.out}: {result.rendered} images rendered in {result.seconds:.1f} s, {result.reused} were there before.")
    return 0


if __name__ == "__main__":
    sys.exit(main())  # Slicer stays open without
