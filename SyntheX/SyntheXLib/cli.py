"""The command line: ``synthex COMMAND ...``."""

from __future__ import annotations

import argparse
import os
import signal
import sys
from collections.abc import Sequence

from SyntheXLib import __version__
from SyntheXLib.commands import (
    adapt,
    benchmark,
    bundle,
    dataset,
    doctor,
    evaluate,
    infer,
    match,
    register,
    sample,
    segment,
    simulate,
    study,
    train,
)
from SyntheXLib.errors import SyntheXError

COMMANDS = (sample, segment, simulate, dataset, train, adapt, infer, evaluate, study, benchmark, register, match, bundle, doctor)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; returns the exit status: 0, 1 when a check failed, 2 for bad input, 130 when interrupted."""
    parser = argparse.ArgumentParser(
        prog="synthex",
        description="From an annotated CT to a network that reads real fluoroscopy: simulate labelled X-rays, train, infer, evaluate.",
        epilog="Example: synthex simulate --sample pelvis --count 1000 --out data, then synthex train data --out run. "
        "'synthex COMMAND --help' tells about a command.",
    )
    parser.add_argument("--version", action="version", version=f"synthex {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for command in COMMANDS:
        command.add(commands)
    options = parser.parse_args(arguments)
    options.arguments = sys.argv[1:] if arguments is None else arguments
    # A polite kill tidies up as Ctrl-C does.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        status: int = options.run(options)
    except SyntheXError as error:
        print(f"synthex {options.command}: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(f"synthex {options.command}: interrupted; what is finished stays.", file=sys.stderr)
        return 130
    except BrokenPipeError:  # the reader of a pipe has gone, as in `synthex ... | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    return status


if __name__ == "__main__":
    sys.exit(main())
