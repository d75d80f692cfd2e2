from __future__ import annotations

import math

import torch

from beamloop.models.trunk import Trunk


def test_an_untrained_trunk_is_the_first_features() -> None:
    features = torch.randn(20, 6, dtype=torch.float64)
    torch.testing.assert_close(Trunk(6, 3, 8, seed=0)(features), features[:, :3], rtol=0, atol=0)


def test_the_prior_falls_with_the_square_of_what_moved_and_is_flat_at_the_start() -> None:
    trunk = Trunk(6, 3, 8, seed=0)
    assert trunk.log_prior().item() == 0.0
    with torch.no_grad():
        dict(trunk.named_parameters())["_last"][2, 1] += 0.5
    # Eight units lead into an output, so its weights have the variance 1/8.
    assert math.isclose(trunk.log_prior().item(), -0.5 * 8 * 0.5**2)


def test_first_weights_follow_from_the_seed_alone() -> None:
    torch.manual_seed(1)
    first = [p.detach().clone() for p in Trunk(6, 3, 8, seed=4).parameters()]
    torch.manual_seed(2)
    again, other = Trunk(6, 3, 8, seed=4), Trunk(6, 3, 8, seed=5)
    assert all(torch.equal(a, b) for a, b in zip(first, again.parameters(), strict=True))
    assert not all(torch.equal(a, b) for a, b in zip(first, other.parameters(), strict=True))
