"""A Slurm of one node on this machine: its own configuration and key, on loopback, ended with the tests."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

_PROGRAMS = ("slurmctld", "slurmd", "sbatch", "squeue", "scancel", "scontrol", "munged")
_SECONDS_TO_START = 30


def missing_programs() -> list[str]:
    """What must be installed and is not."""
    return [name for name in _PROGRAMS if shutil.which(name) is None]


class LocalSlurm:
    """Controller and node daemon of a Slurm with all its files in a folder of its own; runs within a ``with``."""

    def __init__(self) -> None:
        self.folder = folder = Path("/tmp") / f"synthex-slurm-{os.getpid()}"  # munge wants a short path that its owner alone writes to
        folder.mkdir(mode=0o755)
        self.host = socket.gethostname().split(".")[0]
        self.environment = {**os.environ, "SLURM_CONF": str(folder / "slurm.conf")}
        self._daemons: dict[str, subprocess.Popen[bytes]] = {}
        for name in ("state", "spool"):
            (folder / name).mkdir()
        (folder / "slurm.conf").write_text(self._configuration(), encoding="utf-8")
        (folder / "cgroup.conf").write_text("CgroupPlugin=autodetect\nIgnoreSystemd=yes\n", encoding="utf-8")

    def _configuration(self) -> str:
        ports = [_free_port() for _ in range(2)]
        return "\n".join(
            [
                "ClusterName=synthex",
                f"SlurmctldHost={self.host}(127.0.0.1)",
                f"SlurmctldPort={ports[0]}",
                f"SlurmdPort={ports[1]}",
                f"AuthInfo=socket={self.folder / 'munge.socket'}",
                f"SlurmUser={'root' if os.geteuid() == 0 else os.environ['USER']}",
                f"SlurmdUser={'root' if os.geteuid() == 0 else os.environ['USER']}",
                f"StateSaveLocation={self.folder / 'state'}",
                f"SlurmdSpoolDir={self.folder / 'spool'}",
                f"SlurmctldPidFile={self.folder / 'slurmctld.pid'}",
                f"SlurmdPidFile={self.folder / 'slurmd.pid'}",
                f"SlurmctldLogFile={self.folder / 'slurmctld.log'}",
                f"SlurmdLogFile={self.folder / 'slurmd.log'}",
                "ProctrackType=proctrack/linuxproc",
                "TaskPlugin=task/none",
                "MpiDefault=none",
                "SelectType=select/cons_tres",
                "SelectTypeParameters=CR_Core",
                "ReturnToService=2",
                "JobRequeue=1",
                "SchedulerParameters=batch_sched_delay=0,requeue_delay=1",
                f"NodeName={self.host} NodeAddr=127.0.0.1 CPUs={os.cpu_count()} State=UNKNOWN",
                f"PartitionName=short Nodes={self.host} Default=YES MaxTime=60 State=UP",
                "",
            ]
        )

    def __enter__(self) -> LocalSlurm:
        """Start key service, controller and node, and wait until the node is idle."""
        try:
            self._begin()
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(self, *_error: object) -> None:
        self._end()

    def _begin(self) -> None:
        key = self.folder / "munge.key"
        key.write_bytes(os.urandom(128))
        key.chmod(0o400)
        kinds = ("key-file", "socket", "pid-file", "log-file", "seed-file")
        options = [f"--{kind}={self.folder / ('munge.' + kind.split('-')[0])}" for kind in kinds]
        self._start("munged", "--foreground", "--force", *options)
        _until((self.folder / "munge.socket").exists, "munged")
        self._start("slurmctld", "-D")
        self.start_node()

    def start_node(self) -> None:
        """Start the node's daemon and wait until it takes jobs."""
        self._start("slurmd", "-D", "-N", self.host)
        _until(lambda: self.run("sinfo", "-h", "-o", "%T").strip() in ("idle", "mixed", "allocated"), "slurmd")

    def kill_node(self) -> None:
        """Kill the node's daemon and what it runs, as a crash of the machine would, and tell the controller."""
        self._daemons.pop("slurmd").kill()
        for line in subprocess.run(["ps", "-eo", "pid,args"], capture_output=True, text=True, check=True).stdout.splitlines():
            pid, _, command = line.strip().partition(" ")
            if command.startswith("slurmstepd:"):
                subprocess.run(["pkill", "-KILL", "-P", pid], check=False)
                os.kill(int(pid), signal.SIGKILL)
        self.run("scontrol", "update", f"nodename={self.host}", "state=down", "reason=killed")

    def _end(self) -> None:
        for daemon in reversed(self._daemons.values()):
            daemon.terminate()
            daemon.wait()
        shutil.rmtree(self.folder)

    def run(self, *command: str) -> str:
        """What a command of Slurm prints."""
        return subprocess.run(command, env=self.environment, capture_output=True, text=True, check=False).stdout

    def _start(self, program: str, *options: str) -> None:
        log = (self.folder / f"{program}.out").open("ab")
        self._daemons[program] = subprocess.Popen([program, *options], env=self.environment, stdout=log, stderr=log)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _until(reached: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + _SECONDS_TO_START
    while not reached():
        if time.monotonic() > deadline:
            pytest.fail(f"{what} did not start within {_SECONDS_TO_START} s")
        time.sleep(0.2)
