"""The shipped networks by torch, ONNX Runtime and OpenVINO on one thread: images a second of CPU time.

make peers && .venv/bin/python infra/peers/measure_runtimes.py
"""

import os
import sys
import time
import warnings
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

os.environ["OMP_NUM_THREADS"] = "1"
sys.path.append("out/peers/runtimes")  # behind what the environment has: of torch and numpy, ours count

import numpy as np
import onnxruntime
import openvino
import torch

from crnn.checkpoint import Bundle
from crnn.compact import compacted
from crnn.model import channels_last
from crnn.shipped import fetched_folder

SHAPES, ROUNDS = ((64, 96), (64, 160), (32, 256)), 5
"""Images of a batch and their width."""


def main() -> None:
    """Prints the rates, the outputs' largest difference from torch's first."""
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    for name in ("latin94-small", "latin94"):
        with TemporaryDirectory() as folder:
            measure(name, str(Path(folder) / "network.onnx"))


def measure(name: str, path: str) -> None:
    """Rates of one network, which is written to `path` on the way."""
    network = channels_last(compacted(Bundle.load(fetched_folder(name)).model()))
    example = torch.zeros(8, 1, 32, 128, dtype=torch.uint8)
    axes = {"images": {0: "count", 3: "width"}}
    torch.onnx.export(network, (example,), path, dynamo=False, input_names=["images"], dynamic_axes=axes)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    core = openvino.Core()
    settings = {"INFERENCE_NUM_THREADS": 1, "PERFORMANCE_HINT": "LATENCY"}
    compiled = {
        precision: core.compile_model(path, "CPU", settings | {"INFERENCE_PRECISION_HINT": precision})
        for precision in ("f32", "bf16")
    }

    def by_torch(images: np.ndarray, bf16: bool) -> torch.Tensor:
        tensor = torch.from_numpy(images).to(memory_format=torch.channels_last)
        with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            return network(tensor)

    ways = {
        "torch fp32": lambda images: by_torch(images, bf16=False),
        "ONNX Runtime fp32": lambda images: session.run(None, {"images": images})[0],
        "OpenVINO fp32": lambda images: compiled["f32"]([images])[0],
        "torch bf16": lambda images: by_torch(images, bf16=True),
        "OpenVINO bf16": lambda images: compiled["bf16"]([images])[0],
    }
    for count, width in SHAPES:
        images = np.random.default_rng(0).integers(0, 256, (count, 1, 32, width), dtype=np.uint8)
        expected, rates = by_torch(images, bf16=False).numpy(), {way: [] for way in ways}
        apart = np.abs(np.asarray(ways["ONNX Runtime fp32"](images)) - expected).max()
        for round_number in range(ROUNDS + 1):
            for way, read in ways.items():
                began = time.process_time()
                read(images)
                if round_number:  # the first one makes ready
                    rates[way].append(count / (time.process_time() - began))
        told = ", ".join(f"{way} {median(found):.0f}" for way, found in rates.items())
        sys.stdout.write(f"{name} {count}x{width} ({apart:.0e} apart): {told}\n")


if __name__ == "__main__":
    main()
