"""Machine code of a built function: which processor it is for, and what this one can run.

llvmlite is called in threads apart: an interrupt while it frees what it holds would free it twice.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from functools import lru_cache
from typing import Any

from SyntheXLib.rendering.llvm_builder import I1, I32, POINTER, Function
from SyntheXLib.threads import apart


class Target:
    """A processor to compile for: this machine's, or a named subset of its features.

    Parameters
    ----------
    cpu
        LLVM's name of the processor; None takes this machine's.
    features
        LLVM's feature string; None takes this machine's.
    """

    def __init__(self, cpu: str | None = None, features: str | None = None) -> None:
        name, described, _ = _this_machine()
        self._cpu = cpu or name
        self._features = described if features is None else features

    @apart
    def compile(self, module: str, name: str, c_types: list[Any]) -> Callable[..., None]:
        """Compile a module and return its function `name`."""
        import llvmlite.binding as llvm

        llvm.initialize_native_target()
        llvm.initialize_native_asmprinter()
        parsed = llvm.parse_assembly(module)
        parsed.verify()
        machine = llvm.Target.from_default_triple().create_target_machine(cpu=self._cpu, features=self._features, opt=3)
        passes = llvm.create_pass_builder(machine, llvm.create_pipeline_tuning_options(speed_level=3))
        passes.getModulePassManager().run(parsed, passes)
        engine = llvm.create_mcjit_compiler(parsed, machine)
        engine.finalize_object()
        function = ctypes.CFUNCTYPE(None, *c_types)(engine.get_function_address(name))
        function.engine = engine  # type: ignore[attr-defined]  # the code lives as long as its engine
        return function


@lru_cache(maxsize=1)
@apart
def _this_machine() -> tuple[str, str, dict[str, bool]]:
    """LLVM's name of this processor, its feature string, and the features."""
    import llvmlite.binding as llvm

    features = llvm.get_host_cpu_features()
    return llvm.get_host_cpu_name(), features.flatten(), dict(features)


def native_lanes() -> int:
    """Vector length that suits this processor: 16 with AVX-512, 8 with AVX2, else 4."""
    features = _this_machine()[2]
    return 16 if features.get("avx512f") else 8 if features.get("avx2") else 4


@lru_cache(maxsize=1)
def has_wide_permutes() -> bool:
    """Whether `Function.lookup` runs on this processor: it has AVX-512 with the extensions of 2017, and LLVM knows the instructions."""
    features = _this_machine()[2]
    if not all(features.get(name) for name in ("avx512f", "avx512bw", "avx512dq", "avx512vl")):
        return False
    trial = Function("trial", 16, {"pointer": POINTER})
    everywhere = trial.constant(1, I1, 16)
    found = trial.lookup([trial.load(trial.parameter("pointer"), 16 * half, I32, 16) for half in (0, 1)], trial.lane_numbers())
    trial.store(found, trial.parameter("pointer"), everywhere)
    try:
        trial.compile(Target())
    except RuntimeError:
        return False
    return True
