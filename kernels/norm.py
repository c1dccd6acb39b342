"""Root-mean-square norm (Zhang and Sennrich 2019), and a quick way to it.

The library has no fused kernel for it on a CPU, but it has one for LayerNorm. The pair (x, -x) has mean zero, so its variance
is the mean square of x, and LayerNorm of the pair holds the RMS norm of x in its first half.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F  # noqa: N812 - the name every torch reader knows
from torch import Tensor


def rms_norm_reference(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    """The definition: x [..., H] / sqrt(mean(x^2) + eps) * weight [H], the mean in float32."""
    return F.rms_norm(x, weight.shape, weight, eps)


def paired_rms_norm(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    """The same by LayerNorm of (x, -x)."""
    size = x.shape[-1]
    return F.layer_norm(torch.cat((x, -x), dim=-1), (2 * size,), None, None, eps)[..., :size] * weight
