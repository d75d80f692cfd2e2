"""Learn the hyperparameters of a Gaussian process: the maximum of likelihood times prior.

gpytorch evaluates the kernel, the exact likelihood and the priors in float64; L-BFGS
climbs on the logarithms of the parameters, within bounds that keep every covariance
matrix positive definite. It starts from the last hyperparameters, so a refit takes a few
steps.

gpytorch is imported by `ready`, not with this file, and its global switches are pinned
around our calls only: another library that sets them (importing BoTorch does) would
otherwise change the path of a run.

Source: Hvarfner, Hellsten & Nardi, "Vanilla Bayesian optimization performs great in high
dimensions", ICML 2024, as in BoTorch: length scales log-normal with location
√2 + log(d)/2 and scale √3, noise log-normal with -4 and 1. The variance of each of k
parts is log-normal around 1/k with scale 1, the level normal around 0 with scale 1/2.
"""

from __future__ import annotations

import importlib
import math
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, cast

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

from .hyperparameters import Hyperparameters
from .kernel import Kernel, KernelPart

if TYPE_CHECKING:
    import torch
    from gpytorch.constraints import Positive
    from gpytorch.kernels import ScaleKernel

LENGTHSCALE_BOUNDS = (5e-3, 1e3)
VARIANCE_BOUNDS = (1e-4, 1e2)
NOISE_BOUNDS = (1e-6, 1e1)
LEVEL_BOUNDS = (-1e1, 1e1)


def ready() -> None:
    """Import gpytorch now, which takes a second or two, so that the first decision need not wait for it."""
    with warnings.catch_warnings():
        # Its import uses torch.jit.script, which newer versions of torch call deprecated.
        warnings.simplefilter("ignore")
        importlib.import_module("gpytorch")


@contextmanager
def pinned_switches() -> Iterator[None]:
    """Hold every switch of gpytorch and linear_operator that can change an exact result, and one thread."""
    from gpytorch import settings

    with ExitStack() as stack:
        stack.enter_context(_one_thread())
        for switch in (
            settings.fast_computations(covar_root_decomposition=False, log_prob=False, solves=False),
            settings.max_cholesky_size(1 << 20),
            settings.cholesky_jitter(double_value=1e-10),
            settings.cholesky_max_tries(6),
            settings.linalg_dtypes(default=importlib.import_module("torch").float64),
            settings.lazily_evaluate_kernels(False),
            settings.memory_efficient(False),
            settings.skip_logdet_forward(False),
            settings.observation_nan_policy("ignore"),
            settings.prior_mode(False),
            settings.trace_mode(False),
            settings.use_keops(False),
            settings.use_toeplitz(False),
            settings.verbose_linalg(False),
            settings.debug(True),
        ):
            stack.enter_context(switch)
        yield


@contextmanager
def _one_thread() -> Iterator[None]:
    """Let torch work in one thread.

    How sums are split over threads changes their last bits, and with them the path of a run;
    and on a busy machine two threads wait for each other at every small matrix, for which a
    fit was seen to take twenty times as long.
    """
    torch = importlib.import_module("torch")
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def fit(
    inputs: NDArray[np.float64],
    values: NDArray[np.float64],
    noise: NDArray[np.float64],
    start: Hyperparameters,
    steps: int = 50,
) -> tuple[Hyperparameters, float]:
    """Return the hyperparameters of largest posterior density uphill of `start`, and its logarithm.

    Parameters
    ----------
    inputs, values
        Where and what was measured, shapes (n, d) and (n,), standardised.
    noise
        Known variance of each value, shape (n,); nan where it is to be learnt.
    start
        Where to begin; its families and columns stay.
    steps
        Most iterations of L-BFGS.
    """
    ready()
    with pinned_switches():
        density = Density(values, noise, start)
        seen = importlib.import_module("torch").tensor(inputs)
        found = minimize(
            lambda vector: density.loss_and_gradient(seen, vector),
            _to_vector(start),
            jac=True,
            method="L-BFGS-B",
            bounds=_bounds(start.kernel),
            options={"maxiter": steps, "ftol": 1e-6, "gtol": 1e-3},
        )
    return _from_vector(found.x, start.kernel), -float(found.fun)


def _to_vector(hyper: Hyperparameters) -> NDArray[np.float64]:
    """Return [log scales and log variance of each part..., log noise, level]."""
    parts = [np.log([*part.lengthscales, part.variance]) for part in hyper.kernel]
    low, high = np.array(_bounds(hyper.kernel)).T
    return np.clip(np.concatenate([*parts, [math.log(hyper.noise), hyper.mean]]), low, high)


def _from_vector(vector: NDArray[np.float64], kernel: Kernel) -> Hyperparameters:
    parts: list[KernelPart] = []
    for part in kernel:
        d = len(part.lengthscales)
        scales, variance, vector = np.exp(vector[:d]), math.exp(vector[d]), vector[d + 1 :]
        parts.append(replace(part, lengthscales=tuple(scales.tolist()), variance=variance))
    return Hyperparameters(tuple(parts), noise=math.exp(vector[0]), mean=float(vector[1]))


def _bounds(kernel: Kernel) -> list[tuple[float, float]]:
    values = [b for part in kernel for b in [LENGTHSCALE_BOUNDS] * len(part.lengthscales) + [VARIANCE_BOUNDS]]
    return [(math.log(low), math.log(high)) for low, high in [*values, NOISE_BOUNDS]] + [LEVEL_BOUNDS]


class Density:
    """Likelihood times prior of a Gaussian process as a differentiable function; use it under `pinned_switches`.

    Parameters
    ----------
    values, noise
        What was measured and its known variance, each shape (n,), standardised; nan noise is to be learnt.
    start
        The hyperparameters to begin with.

    Attributes
    ----------
    parameters
        What is learnt: logarithms of scales and variances, and the level.
    """

    def __init__(self, values: NDArray[np.float64], noise: NDArray[np.float64], start: Hyperparameters) -> None:
        import gpytorch
        import torch

        kernel = start.kernel
        self._values, self._kernel = torch.tensor(values), kernel
        self._known, self._is_learnt = torch.tensor(np.nan_to_num(noise)), torch.tensor(np.isnan(noise))
        self._mean = gpytorch.means.ConstantMean(constant_prior=gpytorch.priors.NormalPrior(0.0, 0.5)).double()
        self._noise = gpytorch.likelihoods.GaussianLikelihood(
            noise_prior=gpytorch.priors.LogNormalPrior(-4.0, 1.0), noise_constraint=_logarithmic()
        ).double()
        self._parts = [gpytorch_part(part, len(kernel)) for part in kernel]
        kernel_parameters = [
            parameter for part in self._parts for parameter in (part.base_kernel.raw_lengthscale, part.raw_outputscale)
        ]
        self.parameters = cast(
            "list[torch.Tensor]",
            [*kernel_parameters, self._noise.noise_covar.raw_noise, self._mean.raw_constant],
        )
        self._put(_to_vector(start))

    @property
    def hyperparameters(self) -> Hyperparameters:
        """The parameters as they are now, within the bounds of a fit."""
        import torch

        with torch.no_grad():
            vector = torch.cat([parameter.reshape(-1) for parameter in self.parameters]).numpy()
        low, high = np.array(_bounds(self._kernel)).T
        return _from_vector(np.clip(vector, low, high), self._kernel)

    def keep_bounds(self) -> None:
        """Move parameters that have left the bounds of a fit back to them."""
        import torch

        with torch.no_grad():
            vector = torch.cat([parameter.reshape(-1) for parameter in self.parameters]).numpy()
        self._put(np.clip(vector, *np.array(_bounds(self._kernel)).T))

    def log_density(self, inputs: torch.Tensor) -> torch.Tensor:
        """Return the logarithm of likelihood times prior of measurements at these inputs, shape (n, d)."""
        return self._log_likelihood(inputs) + self._log_prior()

    def loss_and_gradient(self, inputs: torch.Tensor, vector: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        """Return the negative logarithm at these inputs and parameters, and its gradient by the parameters."""
        import torch

        self._put(vector)
        loss = -self.log_density(inputs)
        gradients = torch.autograd.grad(loss, self.parameters)
        return loss.item(), torch.cat([gradient.reshape(-1) for gradient in gradients]).numpy()

    def _put(self, vector: NDArray[np.float64]) -> None:
        import torch

        with torch.no_grad():
            sizes = [parameter.numel() for parameter in self.parameters]
            for parameter, piece in zip(self.parameters, torch.tensor(vector).split(sizes), strict=True):
                parameter.copy_(piece.reshape(parameter.shape))

    def _log_likelihood(self, inputs: torch.Tensor) -> torch.Tensor:
        import gpytorch
        import torch

        covariance = sum(part(inputs).to_dense() for part in self._parts)
        noise = torch.where(self._is_learnt, self._noise.noise, self._known)
        mean = cast("torch.Tensor", self._mean(inputs))
        normal = gpytorch.distributions.MultivariateNormal(mean, covariance + torch.diag(noise))
        return normal.log_prob(self._values)

    def _log_prior(self) -> torch.Tensor:
        import torch

        modules = [*self._parts, self._noise, self._mean]
        named = (entry for module in modules for entry in module.named_priors())
        return torch.stack([prior.log_prob(value_of(module)).sum() for _, module, prior, value_of, _ in named]).sum()


def gpytorch_part(part: KernelPart, parts: int = 1) -> ScaleKernel:
    """Return gpytorch's kernel for one of `parts` parts, float64, with its priors and logarithmic parameters."""
    import torch
    from gpytorch import kernels, priors

    d = len(part.columns)
    scale_prior = priors.LogNormalPrior(math.sqrt(2) + 0.5 * math.log(d), math.sqrt(3))
    settings = {
        "ard_num_dims": None if len(part.lengthscales) < d else d,
        "active_dims": part.columns,
        "lengthscale_prior": scale_prior,
        "lengthscale_constraint": _logarithmic(),
    }
    base = (
        kernels.RBFKernel(**settings)
        if part.family == "rbf"
        else kernels.MaternKernel(nu={"matern32": 1.5, "matern52": 2.5}[part.family], **settings)
    )
    variance_prior = priors.LogNormalPrior(-math.log(parts), 1.0)
    kernel = kernels.ScaleKernel(base, outputscale_prior=variance_prior, outputscale_constraint=_logarithmic()).double()
    # A bare float would pass through float32 on its way in.
    kernel.initialize(outputscale=torch.tensor(part.variance, dtype=torch.float64))
    base.initialize(lengthscale=torch.tensor(part.lengthscales, dtype=torch.float64))
    return kernel


def _logarithmic() -> Positive:
    import torch
    from gpytorch.constraints import Positive

    # Its annotation names only its default transform; any callable pair will do.
    return Positive(transform=torch.exp, inv_transform=torch.log)  # pyright: ignore[reportArgumentType]
