"""fp32 or bf16: the same choice for training and reading."""

from typing import Literal

import torch

Precision = Literal["auto", "fp32", "bf16"]
"""fp32; bf16 autocast of the network alone; auto takes bf16 where the hardware computes in it, else fp32.
Training in fp32 on a GPU rounds the factors of its products to TF32: see `allow_tf32`."""


def use_bf16(precision: Precision, device: torch.device) -> bool:
    """Whether to run the network in bf16 on this device.

    CPUs without instructions for bf16 emulate it, more than ten times slower than fp32.
    """
    if precision != "auto":
        return precision == "bf16"
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return device.type == "cpu" and bool(
        torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    )


def allow_tf32() -> None:
    """From here on CUDA devices multiply fp32 numbers with 10 bits of mantissa, several times as fast; CPUs
    compute as before."""
    torch.backends.cuda.matmul.fp32_precision = "tf32"
    # The stubs of torch don't know these two.
    torch.backends.cudnn.conv.fp32_precision = "tf32"  # type: ignore[attr-defined]
    torch.backends.cudnn.rnn.fp32_precision = "tf32"  # type: ignore[attr-defined]
