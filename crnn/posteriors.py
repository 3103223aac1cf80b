"""Line images to log-probabilities: a bundle's network, ready to compute on its device."""

from math import log

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from crnn.checkpoint import Bundle
from crnn.compact import compacted
from crnn.model import channels_last
from crnn.precision import Precision, use_bf16

_CLOSE = log(0.1)
"""Likelihood of the best path below which bf16 is read again in fp32: rounding swaps texts that are nearly as
likely. One photograph in three hundred to one in five is read again."""


class Posteriors:
    """A network that was loaded for reading.

    Args:
        bundle: Its weights.
        device: Where to compute.
        precision: As `crnn.precision`.

    Raises:
        BundleError: The weights don't fit the network.
    """

    def __init__(self, bundle: Bundle, device: torch.device, precision: Precision) -> None:
        self._device, self._bf16 = device, use_bf16(precision, device)
        self._model = channels_last(compacted(bundle.model()).to(device))

    def __call__(self, images_NCHW: npt.NDArray[np.uint8]) -> Tensor:
        """Log-probabilities of each class at each frame, for line images of one canonical width.

        Args:
            images_NCHW: uint8, C = 1.

        Returns:
            float32 [N, T, V] on the device, normalised over V.
        """
        images = torch.from_numpy(images_NCHW).to(self._device, memory_format=torch.channels_last)
        with torch.inference_mode():
            with torch.autocast(self._device.type, torch.bfloat16, enabled=self._bf16):
                log_probs_NTV: Tensor = self._model(images).float().log_softmax(dim=-1)
            if self._bf16:
                close = log_probs_NTV.amax(dim=-1).sum(dim=-1) < _CLOSE
                if close.any():
                    log_probs_NTV[close] = self._model(images[close]).log_softmax(dim=-1)
            return log_probs_NTV
