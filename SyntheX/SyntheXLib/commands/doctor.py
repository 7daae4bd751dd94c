"""``synthex doctor``: what is installed and what works."""

import argparse
from typing import Any


def add(commands: Any) -> None:
    """Declare the options."""
    parser = commands.add_parser(
        "doctor",
        help="tell what is installed and what works",
        description="Tell which packages are installed, whether the compiled ray caster runs, on which devices torch computes, "
        "whether DeepDRR can be used as a renderer, and what lies in the data folder.",
    )
    parser.add_argument("--json", action="store_true", help="tell it to a program, as JSON")
    deepdrr = parser.add_mutually_exclusive_group()
    deepdrr.add_argument(
        "--install-deepdrr", action="store_true", help="make the environment for DeepDRR (GPL-3; some 6 GB) by pip in the user's cache"
    )
    deepdrr.add_argument("--remove-deepdrr", action="store_true", help="remove that environment")
    parser.add_argument("--yes", action="store_true", help="install without asking")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Run the command."""
    from SyntheXLib.cache import empty_cache, size_text
    from SyntheXLib.installation import examine, report

    if options.install_deepdrr:
        return _install_deepdrr(options.yes)
    if options.remove_deepdrr:
        print(f"removed {size_text(empty_cache(['deepdrr']))}")
        return 0
    found = examine()
    print(found.to_json() if options.json else report(found))
    if not found.complete and not options.json:
        print("Install what is missing with: pip install synthex[train]")
    return 0 if found.complete else 1


def _install_deepdrr(sure: bool) -> int:
    from SyntheXLib.rendering.deepdrr.environment import environment_folder, install, install_plan, state

    install_plan()  # tells what is in the way before anything is asked
    if not sure:
        try:
            answer = input(f"Install DeepDRR (GPL-3) and what it needs, some 6 GB, into {environment_folder()}? [y/N] ")
        except EOFError:  # nobody there to ask
            answer = ""
        if answer.strip().lower() not in ("y", "yes"):
            print("nothing was installed; --yes installs without asking.")
            return 1
    install()
    found = state()
    print(f"DeepDRR: {found.sentence}")
    return 0 if found.kind == "works" else 1
