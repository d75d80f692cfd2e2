"""Import gpytorch as the package does: its import warns, and warnings are errors here."""

from __future__ import annotations

import torch

from beamloop.active_learning.marginal_likelihood import ready

ready()
torch.set_num_threads(1)
