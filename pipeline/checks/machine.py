"""Has this machine what a job needs: room, shared memory, fonts, a GPU that is as fast as it should be?"""

import os
import shutil
import sys
import time
from pathlib import Path

from pipeline.checks import Finding

GIB = 1 << 30
LEAST_FREE_BYTES = 10 * GIB
"""Room for Ray's spilled objects and a checkpoint or two."""
LEAST_SHARED_BYTES = GIB // 2
LEAST_FONTS = 20
"""Fewer faces than this, and a recogniser learns them instead of letters."""
WARM_UP_STEPS = 3
"""In which kernels are chosen."""
SLOW = 0.5
"""Share of the expected rate below which something is wrong rather than busy."""


def check_python(found: tuple[int, int] = sys.version_info[:2]) -> Finding:
    """Whether the interpreter is new enough."""
    good = found >= (3, 11)
    told = f"{found[0]}.{found[1]}"
    return Finding(what="Python", good=good, told=told, advice="" if good else "install 3.11 or newer")


def check_disk(folder: Path, least: int = LEAST_FREE_BYTES) -> Finding:
    """Room on the disk where Ray and temporary files live."""
    free = shutil.disk_usage(folder).free
    good = free >= least
    return Finding(
        what=f"disk at {folder}",
        good=good,
        told=f"{free / GIB:.1f} GiB free",
        advice="" if good else f"free some, or set TMPDIR to a disk with {least / GIB:.0f} GiB",
    )


def check_shared_memory(folder: Path = Path("/dev/shm"), least: int = LEAST_SHARED_BYTES) -> Finding:
    """Room for Ray's object store; a local Ray does without, a node of a cluster becomes slow."""
    free = shutil.disk_usage(folder).free if folder.is_dir() else 0
    good = free >= least
    return Finding(
        what=str(folder),
        good=good,
        told=f"{free / GIB:.1f} GiB free",
        advice="" if good else "give the container more: docker --shm-size, an emptyDir of medium Memory",
    )


def check_fonts(folders: tuple[str, ...] = ()) -> Finding:
    """Fonts to render words with.

    Args:
        folders: To look in instead of where fonts are installed.
    """
    from pipeline.synthesis.font_files import find_fonts

    count = len(find_fonts(folders, (), at_hand=not folders))
    good = count >= LEAST_FONTS
    return Finding(
        what="fonts",
        good=good,
        told=f"{count} files",
        advice=""
        if good
        else "install more (the image's Dockerfile lists some), or let jobs/assets.py fetch",
    )


def check_gpu(expected_images_per_s: float | None) -> list[Finding]:
    """Whether torch sees a GPU, and how fast it trains there.

    Args:
        expected_images_per_s: As measured by `step_rate` on a GPU of this kind; None leaves it at a look.
    """
    import torch

    if not torch.cuda.is_available():
        built = torch.version.cuda
        advice = "check nvidia-smi and the driver" if built else "install a torch with CUDA (infra/gpu)"
        return [Finding(what="GPU", good=False, told="torch sees none", advice=advice)]
    name = torch.cuda.get_device_name()
    found = [Finding(what="GPU", good=True, told=f"{torch.cuda.device_count()} × {name}")]
    if expected_images_per_s is not None:
        found.append(judge_rate(step_rate("cuda"), expected_images_per_s))
    return found


def judge_rate(found: float, expected: float) -> Finding:
    """Compares a training rate, in images a second, with what it should be."""
    good = found >= SLOW * expected
    return Finding(
        what="training rate",
        good=good,
        told=f"{found:,.0f} images/s of {expected:,.0f} expected",
        advice="" if good else "look for another user of it (nvidia-smi), heat, or a power limit",
    )


def step_rate(device: str, seconds: float = 5.0, network: str = "paper") -> float:
    """Images a second of whole training steps, as the training job does them, on 128 words of 100 pixels."""
    import torch

    from crnn.charset import LATIN94
    from crnn.model import CRNN
    from crnn.networks import NETWORKS
    from crnn.optimizer import OptimizerConfig
    from crnn.training import Batch, Learner

    config = NETWORKS[network]
    model = CRNN(config, LATIN94.num_classes).to(device)
    # What a GPU is worth, whatever recipes do besides: the figures it is compared with are of adamw.
    learner = Learner(model, OptimizerConfig(kind="adamw"))
    batch = Batch(
        images_NCHW=torch.randint(256, (128, 1, config.height, 100), dtype=torch.uint8, device=device),
        targets=torch.randint(1, LATIN94.num_classes, (128 * 5,), device=device),
        target_lengths=torch.full((128,), 5),
    )
    done, began = -WARM_UP_STEPS, 0.0
    while done <= 0 or time.monotonic() - began < seconds:
        if done == 0:
            began = time.monotonic()
        learner.step(batch, global_count=batch.count, progress=0.5).loss_sum.item()  # waits for the device
        done += 1
    return done * batch.count / (time.monotonic() - began)


def check_processes() -> Finding:
    """Whether the limit of open files lets Ray connect its processes."""
    import resource

    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    good = soft >= 4096
    told = f"{soft:,} open files, {os.cpu_count()} CPUs"
    return Finding(what="limits", good=good, told=told, advice="" if good else "raise it: ulimit -n 65536")
