"""Train a network on a simulated data set, in a process of its own, and wait for it; the same as ``synthex train``.

In Slicer:        Slicer --no-splash --no-main-window --python-script Docs/batch/train.py data --out run
In plain Python:  python Docs/batch/train.py data --out run
"""

import argparse
import sys
import time
from pathlib import Path

from SyntheXLib.errors import SyntheXError
from SyntheXTrainLib.logic import SyntheXTrainLogic


def main() -> int:
    """Run the script."""
    parser = argparse.ArgumentParser(description="Train on a data set; an interrupted training goes on.")
    parser.add_argument("dataset", type=Path, help="data set folder")
    parser.add_argument("--out", type=Path, required=True, help="folder of the run")
    parser.add_argument("--epochs", type=int, default=4, help="passes over the data set")
    parser.add_argument("--size", default="small", help="size of the network: small, medium or full")
    options = parser.parse_args()
    logic = SyntheXTrainLogic()
    try:
        logic.start({"datasets": [options.dataset], "out": options.out, "epochs": options.epochs, "size": options.size})
        told = 0
        while logic.isRunning(options.out):
            time.sleep(0.5)
            for row in logic.history(options.out)[told:]:
                told += 1
                print(f"epoch {row['epoch']:.0f} of {options.epochs}: loss {row['loss']:.4f}", flush=True)
    except SyntheXError as error:
        print(error, file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        logic.stop(options.out)
        return 130
    state = logic.state(options.out)
    print(state.message or f"{state.status}; best model: {logic.modelPath(options.out)}")
    return 0 if state.status == "finished" else 1


if __name__ == "__main__":
    sys.exit(main())  # Slicer stays open without
