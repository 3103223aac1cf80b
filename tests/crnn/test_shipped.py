"""The models of the package: whole, small enough, told of in a card, and found by name from anywhere."""

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from crnn.checkpoint import WEIGHTS, Bundle
from crnn.model import count_parameters, forward_flops
from crnn.networks import PAPER
from crnn.precision import use_bf16
from crnn.recognizer import Recognizer
from crnn.shipped import bundle_folder, halved, shipped_models
from tests.datasets import printed

SHARED = Path(__file__).resolve().parents[3] / "shared"
NAMES = ["latin94", "latin94-small"]
LIMITS = {
    "latin94": (8_800_000, 1.5e9, 18e6),
    "latin94-small": (1_600_000, forward_flops(PAPER, 95, 100) / 3, 4e6),
}
"""Most parameters, most operations for a word of 100 pixels, and most bytes of weights."""


def test_these_are_shipped() -> None:
    assert sorted(shipped_models()) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_a_shipped_model_reads_and_is_no_larger_than_promised(name: str) -> None:
    recognizer = Recognizer.load(name)
    words = ["Coffee", "SALE", "2019", "open"]
    assert [h.text for h in recognizer([printed(word) for word in words])] == words
    parameters, flops, size = LIMITS[name]
    assert (shipped_models()[name] / WEIGHTS).stat().st_size <= size
    bundle = recognizer.bundle
    assert count_parameters(bundle.model()) <= parameters
    assert forward_flops(bundle.network, bundle.charset.num_classes, 100) <= flops
    assert all(tensor.dtype == torch.float16 for tensor in bundle.weights.values() if tensor.ndim > 1)
    assert bundle.calibration
    assert bundle.language


@pytest.mark.parametrize("name", NAMES)
def test_a_shipped_model_has_a_card_about_itself(name: str) -> None:
    folder = shipped_models()[name]
    card = (folder / "README.md").read_text()
    assert Bundle.load(folder).fingerprint in card
    pictures = [line.rpartition("(")[2].rstrip(")") for line in card.splitlines() if line.startswith("![")]
    assert pictures
    assert all((folder / picture).is_file() for picture in pictures)


def test_a_shipped_model_is_found_from_any_folder(tmp_path: Path) -> None:
    asked = f"from crnn.recognizer import Recognizer; print(Recognizer.load({NAMES[0]!r}).bundle.fingerprint)"
    root = Path(__file__).resolve().parents[2]
    found = subprocess.run(
        [sys.executable, "-c", asked],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(root)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert found.stdout.strip() == Bundle.load(shipped_models()[NAMES[0]]).fingerprint


@pytest.mark.skipif(not SHARED.is_dir(), reason="needs the photographs in ../shared/data")
@pytest.mark.skipif(not use_bf16("auto", torch.device("cpu")), reason="this CPU emulates bf16")
@pytest.mark.parametrize("name", NAMES)
def test_bf16_reads_photographs_as_fp32_does(name: str) -> None:
    folders = (SHARED / "data/ic15_train/images", SHARED / "data/iiit5k_train/images")
    images = [image for folder in folders for image in sorted(folder.iterdir())[::6]]
    assert len(images) > 1_000
    exact, fast = (Recognizer.load(name, precision=p)(images) for p in ("fp32", "bf16"))  # type: ignore[arg-type]
    different = [(a.text, b.text) for a, b in zip(exact, fast, strict=True) if a.text != b.text]
    assert len(different) <= 0.005 * len(images), different


def test_a_folder_of_the_same_name_is_still_to_be_had() -> None:
    assert bundle_folder(f"./{NAMES[0]}") == Path(NAMES[0])
    assert bundle_folder(Path(NAMES[0])) == Path(NAMES[0])
    assert bundle_folder("out/bundle") == Path("out/bundle")


def test_halving_leaves_vectors_and_counters_alone(untrained_bundle: Path, tmp_path: Path) -> None:
    bundle = Bundle.load(untrained_bundle)
    small = halved(bundle)
    for name, tensor in bundle.weights.items():
        matrix = tensor.ndim > 1
        assert small.weights[name].dtype == (torch.float16 if matrix else tensor.dtype)
        assert torch.allclose(small.weights[name].to(tensor.dtype), tensor, rtol=2**-10, atol=2**-24)
    replace(small, provenance={"seed": 3}).save(tmp_path)
    assert all(p.dtype == torch.float32 for p in Bundle.load(tmp_path).model().parameters())
