# Everything runs in a local environment that the first target makes: only Python 3.11+ with pip and make are needed.
PYTHON ?= python3
# A CPU build of torch serves; set TORCH to what fits your GPU, e.g. TORCH="torch==2.13.0 --index-url ...".
TORCH ?= torch==2.13.0
VENV ?= .venv
OUT ?= build/demo

BIN := $(VENV)/bin
READY := $(VENV)/.ready
READY_TEST := $(VENV)/.ready-test
READY_GUI := $(VENV)/.ready-gui
SYNTHEX := $(BIN)/synthex

.PHONY: help setup demo batch test test-all test-gui lint test-cluster bench bench-simulation bench-training bench-registration bench-inference benchmark-small chest-model clean

help:
	@echo "make demo      sample CT -> simulated X-rays -> trained network -> report, in under 15 minutes on 2 cores"
	@echo "make chest-model  a network that finds the lungs in chest X-rays, from the sample chest CT alone; XRAYS=DIR measures it on yours"
	@echo "make batch     the scripts of Docs/batch on slicer-core: simulate 50, train small, infer; equal to the command line's"
	@echo "make test      lint, types and all tests but the slow ones"
	@echo "make test-all  the slow tests too"
	@echo "make test-gui  panels of the installed extension; SLICER_PYTHON_DIR names Base/Python/slicer of a checkout of Slicer/Slicer"
	@echo "make test-cluster  data sets on a real Slurm that is started here; skipped where slurm-wlm is not installed"
	@echo "make bench     speed beside the peers (in an environment of its own, 3.5 GB); QUICK=1: beside RTK alone"
	@echo "make bench-simulation  images a second of a data set, and where the time goes"
	@echo "make bench-training  images a second of a training against the bare network's step, and where the time goes"
	@echo "make bench-registration  2D/3D registration of simulated X-rays: errors, time, share that succeeds; POSES=20 is quicker"
	@echo "make bench-inference  seconds of an image through 'synthex infer' with the full network on the CPU, and where they go"
	@echo "make benchmark-small  synthex benchmark deepfluoro and tool from beginning to end on data made here, about 5 minutes"
	@echo "make setup     only the environment ($(VENV))"
	@echo "make clean     remove the environment and build/"

setup: $(READY)

$(READY): pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet $(TORCH)
	$(BIN)/python -m pip install --quiet --editable ".[train,dev]"
	@touch $@

# The logics of the modules are tested on slicer-core, Slicer's MRML without its window; Warp's kernels on its CPU; transport with numba; ONNX exports.
$(READY_TEST): $(READY)
	$(BIN)/python -m pip install --quiet --editable ".[mrml,gpu,mc,cluster,onnx]"
	@touch $@

# The same commands as in the README; each goes on where it was stopped.
demo: $(READY)
	$(SYNTHEX) sample pelvis
	$(SYNTHEX) simulate --task hip --sample pelvis --count 1500 --image-size 128 --seed 1 --out $(OUT)/train --resume
	$(SYNTHEX) simulate --task hip --sample pelvis --count 150 --image-size 128 --seed 2 --out $(OUT)/held_out --resume
	$(SYNTHEX) train $(OUT)/train --epochs 12 --validation-fraction 0.05 --out $(OUT)/run
	$(SYNTHEX) infer $(OUT)/run/model.pt $(OUT)/held_out --out $(OUT)/predictions
	$(SYNTHEX) evaluate $(OUT)/predictions $(OUT)/held_out --out $(OUT)/report

# Lungs in real chest X-rays, learned from simulated ones (Docs/chest.md). XRAYS: a folder of X-rays with masks to measure it on.
CHEST := build/chest-model
chest-model: $(READY)
	$(SYNTHEX) sample chest
	$(SYNTHEX) simulate --task chest-lungs --sample chest --count 2000 --seed 1 --dtype float16 --out $(CHEST)/train --resume
	$(SYNTHEX) train $(CHEST)/train --randomization strong --randomization-preset radiography --epochs 6 --batch 6 \
		--validation-fraction 0.05 --pictures 0 --out $(CHEST)/run
	$(if $(XRAYS),$(BIN)/python Docs/chest_model.py --data $(XRAYS) --flip)

# The scripts run in Slicer too; here on slicer-core. The last step makes everything again with the command and compares.
BATCH := build/batch
batch: $(READY_TEST)
	rm -rf $(BATCH)
	$(BIN)/python Docs/batch/simulate.py --count 50 --image-size 128 --seed 1 --out $(BATCH)/data
	$(BIN)/python Docs/batch/simulate.py --count 10 --image-size 128 --seed 2 --out $(BATCH)/held_out
	$(BIN)/python Docs/batch/train.py $(BATCH)/data --epochs 3 --out $(BATCH)/run
	$(BIN)/python Docs/batch/infer.py $(BATCH)/run/model.pt $(BATCH)/held_out --out $(BATCH)/found
	$(BIN)/python Docs/batch/check.py $(BATCH)

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

test: lint $(READY_TEST)
	$(BIN)/pytest

test-all: lint $(READY_TEST)
	$(BIN)/pytest -m "slow or not slow"

# PySide6 stands for Slicer's Qt; 6.12.0 crashes Python 3.11.
$(READY_GUI): $(READY_TEST)
	$(BIN)/python -m pip install --quiet "PySide6-Essentials>=6.8,!=6.12.0"
	@touch $@

# The extension is built and installed first (cmake); panels and logics are loaded from there. With SLICER_SOURCE_DIR and CTK_SOURCE_DIR,
# checkouts of Slicer/Slicer and commontk/CTK, Slicer's own macros do that, and CTest runs the modules' own tests. Pictures go to $(SHOTS).
SHOTS ?= build/screenshots
test-gui: $(READY_GUI)
	SYNTHEX_INSTALLED=1 SYNTHEX_SCREENSHOTS="$(abspath $(SHOTS))" QT_QPA_PLATFORM=offscreen \
	$(BIN)/pytest -rs Testing/extension
	QT_QPA_PLATFORM=offscreen $(BIN)/pytest -rs -m slow Testing/extension/test_cmake.py

# The reasons of what is skipped are printed (-rs).
test-cluster: $(READY_TEST)
	$(BIN)/pytest -rs -m "slow or not slow" Testing/library/test_slurm.py

# Peers are large and want other versions, so they have an environment of their own.
BENCH := Testing/benchmarks
$(VENV)-bench/.ready: pyproject.toml $(BENCH)/requirements.txt $(BENCH)/requirements-no-deps.txt
	$(PYTHON) -m venv $(VENV)-bench
	$(VENV)-bench/bin/python -m pip install --quiet --upgrade pip
	$(VENV)-bench/bin/python -m pip install --quiet $(TORCH)
	$(VENV)-bench/bin/python -m pip install --quiet --editable . --requirement $(BENCH)/requirements.txt
	$(VENV)-bench/bin/python -m pip install --quiet --no-deps --requirement $(BENCH)/requirements-no-deps.txt
	@touch $@

bench: $(VENV)-bench/.ready
	$(VENV)-bench/bin/python $(BENCH)/bench_renderer.py $(if $(QUICK),--quick)

bench-simulation: $(READY)
	$(BIN)/python $(BENCH)/bench_simulation.py

bench-training: $(READY)
	$(BIN)/python $(BENCH)/bench_training.py

bench-registration: $(READY)
	$(BIN)/python $(BENCH)/bench_registration.py $(if $(POSES),--poses $(POSES))

bench-inference: $(READY)
	$(BIN)/python $(BENCH)/bench_inference.py

# Goes on where it was stopped.
benchmark-small: $(READY)
	$(BIN)/python $(BENCH)/benchmark_small.py --out build/benchmark-small

clean:
	rm -rf $(VENV) $(VENV)-bench build
