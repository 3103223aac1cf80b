"""Checks of the machine itself."""

import shutil
from pathlib import Path

import pytest
import torch

from pipeline.checks.machine import (
    check_disk,
    check_fonts,
    check_python,
    check_shared_memory,
    judge_rate,
    step_rate,
)


def test_a_disk_is_judged_by_what_is_free_on_it(tmp_path: Path) -> None:
    free = shutil.disk_usage(tmp_path).free
    assert check_disk(tmp_path, free // 2).good
    full = check_disk(tmp_path, 2 * free)
    assert not full.good
    assert "TMPDIR" in full.advice


def test_a_machine_without_shared_memory_is_told_how_to_get_some(tmp_path: Path) -> None:
    finding = check_shared_memory(tmp_path / "shm")
    assert not finding.good
    assert "0.0 GiB" in finding.told
    assert "--shm-size" in finding.advice


def test_an_old_python_and_few_fonts_are_found_out(tmp_path: Path) -> None:
    assert check_python((3, 11)).good
    assert not check_python((3, 10)).good
    few = check_fonts((str(tmp_path),))
    assert (few.good, few.told) == (False, "0 files")


def test_a_rate_is_measured_in_whole_training_steps_and_half_of_the_expected_is_let_pass() -> None:
    rate = step_rate("cpu", seconds=0.05, network="small")
    assert rate > 1
    assert judge_rate(rate, rate).good
    assert judge_rate(rate, 1.9 * rate).good
    slow = judge_rate(rate, 2.1 * rate)
    assert not slow.good
    assert "nvidia-smi" in slow.advice


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_gpu_is_seen_and_trains() -> None:
    from pipeline.checks.machine import check_gpu

    assert all(finding.good for finding in check_gpu(1.0))
