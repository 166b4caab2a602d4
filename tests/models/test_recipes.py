"""What every recipe must do, tested with one body over the table of recipes."""

import json
import math
from pathlib import Path

import pytest
import torch
from support.states import differing
from support.training import FOLDERS, SMALLEST, trained, trainer
from torch import Tensor, nn

from models.objectives.adversarial import OBJECTIVES
from models.recipes import RECIPES

# Losses of two steps from seed 0 on one thread. They may only change together with a reason for it.
STORED: dict[str, dict[str, float]] = {
    "stargan": {
        "critic/adversarial": 0.0086067,
        "critic/classification": 2.0762761,
        "critic/penalty": 7.5410867,
        "generator/adversarial": -0.0018389,
        "generator/classification": 2.0803444,
        "generator/reconstruction": 7.7383180,
        "generator/identity": 0.1437631,
    },
    "stargan joint": {
        "critic/adversarial": 0.000205,
        "critic/classification": 1.1547316,
        "critic/penalty": 7.9651566,
        "generator/adversarial": 0.0129536,
        "generator/classification": 1.1475447,
        "generator/reconstruction": 8.6983891,
    },
    "pix2pix": {
        "discriminator/adversarial": 0.6930406,
        "generator/adversarial": 0.7093964,
        "generator/reconstruction": 69.139595,
    },
    "cyclegan": {
        "generators/adversarial_a": 1.4034735,
        "generators/adversarial_b": 1.0561006,
        "generators/cycle_a": 6.6422181,
        "generators/cycle_b": 7.1759624,
        "generators/identity_a": 3.3130827,
        "generators/identity_b": 3.5700941,
        "discriminators/adversarial_a": 0.6624222,
        "discriminators/adversarial_b": 0.5630343,
    },
}


@pytest.fixture
def folder(case: str, request: pytest.FixtureRequest) -> Path:
    """The data of a case."""
    found: Path = request.getfixturevalue(FOLDERS[case])
    return found


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


def weights(network: nn.Module) -> list[Tensor]:
    return [parameter.detach().clone() for parameter in network.parameters()]


@pytest.mark.parametrize("case", SMALLEST)
def test_each_phase_moves_exactly_the_networks_that_it_claims(case: str, folder: Path, tmp_path: Path) -> None:
    """One turn of a phase changes every network it trains and no other."""
    made = trainer(case, folder, tmp_path / "run", 4)
    for phase in made.recipe.phases:
        before = {name: weights(network) for name, network in made.recipe.networks.items()}
        made.turn(phase, made.sample_batch)
        moved = {
            name
            for name, network in made.recipe.networks.items()
            if any(not torch.equal(a, b) for a, b in zip(before[name], weights(network), strict=True))
        }
        assert moved == set(phase.trains)


@pytest.mark.parametrize("case", SMALLEST)
def test_every_parameter_of_a_phase_receives_a_gradient(case: str, folder: Path, tmp_path: Path) -> None:
    """No layer that a phase trains is left out of its loss."""
    made = trainer(case, folder, tmp_path / "run", 4)
    for phase in made.recipe.phases:
        made.turn(phase, made.sample_batch)
        parameters = [parameter for name in phase.trains for parameter in made.recipe.networks[name].parameters()]
        assert all(p.grad is not None and p.grad.isfinite().all() for p in parameters)


@pytest.mark.parametrize("case", SMALLEST)
def test_losses_are_finite_and_as_stored(case: str, folder: Path, tmp_path: Path) -> None:
    """A seeded run's first losses are the stored ones, so that no refactoring moves a number unnoticed."""
    trained(case, folder, tmp_path / "run", 2)
    last = json.loads((tmp_path / "run" / "metrics.jsonl").read_text().splitlines()[-1])
    losses = {name: value for name, value in last.items() if "/" in name}
    assert all(math.isfinite(value) for value in losses.values())
    assert losses == pytest.approx(STORED[case], rel=1e-4, abs=1e-6)


@pytest.mark.parametrize("case", SMALLEST)
def test_a_resumed_run_has_the_bits_of_one_that_never_stopped(case: str, folder: Path, tmp_path: Path) -> None:
    """Six steps equal three steps, a new process's state, and three more: weights, averages and optimisers."""
    trained(case, folder, tmp_path / "whole", 6)
    parts = trained(case, folder, tmp_path / "parts", 6, "save_every=3")
    parts.run.checkpoints.joinpath("00000006.ckpt").unlink()
    trained(case, folder, tmp_path / "parts", 6, resume=True)
    one, other = (torch.load(tmp_path / name / "checkpoints/00000006.ckpt") for name in ("whole", "parts"))
    assert differing(one, other) == []


@pytest.mark.parametrize("case", SMALLEST)
def test_a_trained_run_opens_with_the_weights_that_are_shown(case: str, folder: Path, tmp_path: Path) -> None:
    """`trained` gives the averaged weights of averaged networks, and the last weights of the others."""
    made = trained(case, folder, tmp_path / "run", 3)
    opened, step = made.run.trained()
    assert step == 3
    for name, network in opened.networks.items():
        expected = made.averages.weights.get(name, made.recipe.networks[name].state_dict())
        assert all(torch.equal(value, expected[key]) for key, value in network.state_dict().items())


def test_every_recipe_has_a_case() -> None:
    """The tests above run over every recipe of the table."""
    assert {case.split()[0] for case in SMALLEST} == set(RECIPES)


@pytest.mark.parametrize("objective", OBJECTIVES)
@pytest.mark.parametrize("case", FOLDERS)
def test_every_recipe_plays_for_every_objective(case: str, objective: str, folder: Path, tmp_path: Path) -> None:
    """Each game trains all weights of each phase with finite numbers, and clips and penalises where it says so."""
    made = trainer(case, folder, tmp_path / "run", 4, f"objective={objective}", "clip=0.001")
    game = OBJECTIVES[objective]  # type: ignore[index]
    for phase in made.recipe.phases:
        losses = made.turn(phase, made.sample_batch)
        assert all(math.isfinite(value) for value in losses.values())
        parameters = [parameter for name in phase.trains for parameter in made.recipe.networks[name].parameters()]
        assert all(p.grad is not None and p.grad.isfinite().all() for p in parameters)
        judging = phase.name.startswith(("critic", "discriminator"))
        assert any("penalty" in name for name in losses) == (judging and game.penalised)
        assert (max(float(p.detach().abs().max()) for p in parameters) < 0.0011) == (judging and game.clipped)
