"""A child that speaks the protocol, or fails to in the way that STAND_IN names; it renders nothing."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

mode, folder = os.environ.get("STAND_IN", ""), Path(sys.argv[1])
for line in sys.stdin:
    request = json.loads(line)
    ok: dict[str, object] = {}
    if request["do"] == "hello":
        ok = {"protocol": 99 if mode == "protocol" else 1, "deepdrr": "1.2.2", "device": "Stand-in GPU", "problem": None}
    elif mode == "orphan":
        child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(120)"])
        Path(os.environ["STAND_IN_PIDS"]).write_text(str(child.pid), encoding="utf-8")
        os._exit(4)
    elif mode == "crash":
        print("CUDA ran out of memory.", file=sys.stderr)
        os._exit(3)
    elif mode == "hang":
        child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(120)"])
        Path(os.environ["STAND_IN_PIDS"]).write_text(f"{os.getpid()} {child.pid}", encoding="utf-8")
        time.sleep(120)
    elif mode == "chatter":
        print("Loading the kernel ...", flush=True)
    elif mode == "error":
        print(json.dumps({"id": request["id"], "error": "DeepDRR could not do 'render': no such material."}), flush=True)
        continue
    elif request["do"] == "render" and mode != "no image":
        np.save(folder / request["image"], np.ones(request["shape"], np.float32))
    print(json.dumps({"id": request["id"], "ok": ok}), flush=True)
