"""Stands in for CuPy: says which GPU there is, after what FAKE_CUDA says."""

import os


class cuda:
    class runtime:
        @staticmethod
        def getDeviceCount() -> int:
            if os.environ.get("FAKE_CUDA") == "none":
                raise RuntimeError("cudaErrorNoDevice: no CUDA-capable device is detected")
            return 1

        @staticmethod
        def getDeviceProperties(number: int) -> dict[str, bytes]:
            return {"name": b"Fake GPU"}
