"""A small network that bends features of patches towards a property, and begins by changing nothing.

Its outputs are a linear map of the features plus what two hidden layers add. The map starts
as the first few features themselves and the last layer at zero, so an untrained trunk is
what was known without it. The prior is centred there too: weights move away only as far as
measurements ask.

Source: He, Zhang, Ren & Sun, "Identity mappings in deep residual networks", ECCV 2016; zero
as the start of the last layer: Goyal et al., "Accurate, large minibatch SGD", 2017,
section 5.1; a prior around the weights one starts from: Li, Grandvalet & Davoine, "Explicit
inductive bias for transfer learning with convolutional networks", ICML 2018 (L2-SP).
"""

from __future__ import annotations

import math

import torch


class Trunk(torch.nn.Module):
    """Features (m, d) to outputs (m, kept), float64.

    Parameters
    ----------
    features
        How many features come in, d; the first ones matter most, each has variance 1 or less.
    kept
        How many of them an untrained trunk lets through, and how many outputs there are.
    width
        Units of each hidden layer.
    seed
        Of the hidden layers' first weights.
    """

    def __init__(self, features: int, kept: int, width: int, seed: int) -> None:
        super().__init__()
        rng = torch.Generator().manual_seed(seed)
        self._first = _drawn(features, width, rng)
        self._second = _drawn(width, width, rng)
        self._first_shift = torch.nn.Parameter(torch.zeros(width, dtype=torch.float64))
        self._second_shift = torch.nn.Parameter(torch.zeros(width, dtype=torch.float64))
        self._last = torch.nn.Parameter(torch.zeros(width, kept, dtype=torch.float64))
        self._through = torch.nn.Parameter(torch.eye(features, kept, dtype=torch.float64))
        self._start = [weights.detach().clone() for weights in self._weights()]

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Return the outputs, shape (m, kept)."""
        inner = torch.nn.functional.silu(features @ self._first + self._first_shift)
        inner = torch.nn.functional.silu(inner @ self._second + self._second_shift)
        return features @ self._through + inner @ self._last

    def log_prior(self) -> torch.Tensor:
        """Return the logarithm of a normal prior around the untrained weights, up to a constant.

        Its variance is 1 / (inputs of the unit), which keeps outputs of wide layers in proportion.
        """
        moved = zip(self._weights(), self._start, strict=True)
        return -0.5 * torch.stack([len(now) * (now - start).square().sum() for now, start in moved]).sum()

    def _weights(self) -> list[torch.Tensor]:
        return [self._first, self._second, self._last, self._through]


def _drawn(fan_in: int, width: int, rng: torch.Generator) -> torch.nn.Parameter:
    return torch.nn.Parameter(torch.randn(fan_in, width, generator=rng, dtype=torch.float64) / math.sqrt(fan_in))
