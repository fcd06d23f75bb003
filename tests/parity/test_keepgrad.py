"""LATTICE trained as by the torch that the reference pins: gradients are zeroed, so momentum moves idle parameters."""

from __future__ import annotations

import pytest
import torch

from tests.parity.golden import Run, cases, close, mappings, total_of

KEPT = [case for case in cases() if case.meta["model"] == "LATTICE" and "traj_keepgrad/loss" in case.arrays]


@pytest.mark.parametrize("case", KEPT, ids=lambda case: case.id)
@pytest.mark.usefixtures("float64")
def test_trajectory_with_zeroed_gradients(case) -> None:
    run = Run(case, mappings()["LATTICE"], given_graphs=True)
    model = run.in_epoch()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    losses = []
    for _ in range(3):
        optimizer.zero_grad(set_to_none=False)
        total = total_of(run.loss(model))
        total.backward()
        optimizer.step()
        losses.append(total.item())
    losses.append(total_of(run.loss(model)).item())
    close(losses, case.arrays["traj_keepgrad/loss"], run.tolerance, "traj_keepgrad/loss")
    model.eval()
    close(model.score(torch.arange(case.data.n_users)), case.arrays["traj_keepgrad/scores"], run.tolerance, "scores")
    for name, expected in run.mapping.arrays_of(case, "traj_keepgrad/param", dict(model.named_parameters())).items():
        close(dict(model.named_parameters())[name], expected, run.tolerance, f"traj_keepgrad/param/{name}")
