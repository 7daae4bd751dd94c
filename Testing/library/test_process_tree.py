"""Child processes that can be ended."""

import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest

from SyntheXLib import process_tree


@pytest.fixture
def ignored() -> Iterator[None]:
    """Ctrl-C ignored, as in what a script puts into the background; children inherit that."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows knows one way to end a process, which nobody can ignore")
def test_a_child_can_be_interrupted_though_its_parent_cannot(ignored: None) -> None:
    code = "import time\ntry:\n    print('here', flush=True)\n    time.sleep(60)\nexcept KeyboardInterrupt:\n    print('tidied up')"
    child = process_tree.start([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    assert child.stdout.readline() == "here\n"
    assert process_tree.send(child.pid, signal.SIGINT)
    assert child.communicate(timeout=30)[0] == "tidied up\n"
    assert not process_tree.send(child.pid, signal.SIGINT)  # nobody is left
    assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
