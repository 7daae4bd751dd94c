"""Which renderers work on this machine."""

from __future__ import annotations

from SyntheXLib.errors import SyntheXError

# Of `rendering.renderer.RENDERERS` those that a user chooses among; "own" is the same as "auto", "reference" is slow and for checks.
CHOICES = ("auto", "cpu", "cuda", "deepdrr")


def whyNot(renderer: str) -> str:
    """Why a renderer does not work here, as a sentence; empty when it does.

    A GPU is asked for, so the first call takes a second where one may be. DeepDRR's self-test is not run for it: where none is stored, the
    first image runs it.
    """
    from SyntheXLib.rendering.deepdrr.environment import environment_python
    from SyntheXLib.rendering.deepdrr.self_test import stored_test
    from SyntheXLib.rendering.renderer import make_renderer

    if renderer == "deepdrr":
        python = environment_python()
        if python is not None and stored_test(python) is None:
            return ""
    try:
        make_renderer(renderer)
    except SyntheXError as error:
        return str(error)
    return ""
