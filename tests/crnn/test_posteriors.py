"""A bundle's network, ready to read: what its log-probabilities are, in fp32 and in bf16."""

import numpy as np
import torch

from crnn.batching import stack
from crnn.checkpoint import Bundle
from crnn.posteriors import Posteriors
from crnn.preprocess import line_image
from crnn.shipped import bundle_folder
from tests.datasets import printed

CPU = torch.device("cpu")
BUNDLE = Bundle.load(bundle_folder("latin94-small"))


def test_bf16_reads_again_in_fp32_what_it_is_not_sure_of() -> None:
    exact, fast = Posteriors(BUNDLE, CPU, "fp32"), Posteriors(BUNDLE, CPU, "bf16")
    word = line_image(np.asarray(printed("Station").convert("L")), BUNDLE.reading)
    images = stack([word, np.asarray(np.random.default_rng(0).integers(0, 256, word.shape), np.uint8)])
    (sure, unsure), (rounded, again) = exact(images), fast(images)
    likelihoods = [float(item.amax(dim=-1).sum().exp()) for item in (rounded, unsure)]
    assert likelihoods[0] > 0.5
    assert likelihoods[1] < 0.1
    assert torch.allclose(again, unsure, atol=1e-4)
    assert not torch.allclose(rounded, sure, atol=1e-4)
    assert torch.allclose(rounded, sure, atol=1.0, rtol=0.2)


def test_log_probabilities_are_normalised() -> None:
    log_probs_NTV = Posteriors(BUNDLE, CPU, "fp32")(stack([np.zeros((32, 64), np.uint8)]))
    assert log_probs_NTV.shape == (1, BUNDLE.network.num_frames(64), BUNDLE.charset.num_classes)
    assert torch.allclose(log_probs_NTV.exp().sum(-1), torch.ones(1, 16), atol=1e-5)
