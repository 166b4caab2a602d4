"""What a recipe may ask of the loop: stages, gates, measures, noise, and a state that the averaged terms move."""

import json
from pathlib import Path

import pytest
import torch
from support.balanced import LATENT, WARM, Balanced, BalancedOptions, balanced, k_of

from models.recipes.recipe import Phase, Share


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


def logged(run: Path) -> list[dict[str, float]]:
    """Each step's line of metrics.jsonl."""
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


def test_a_phase_comes_within_its_stage() -> None:
    """With start 2, until 7 and every second step, a phase is due at steps 3 and 5; with nothing said, always."""
    made = Balanced(BalancedOptions.model_validate({"size": 32}))
    stage = Phase("stage", (), made.picture_terms, made.options.adam, every=2, start=2, until=7)
    assert [step for step in range(12) if stage.due(step)] == [3, 5]
    assert all(Phase("all", (), made.picture_terms, made.options.adam).due(step) for step in range(12))


def test_one_stage_follows_the_other(labelled_set: Path, tmp_path: Path) -> None:
    """The critic learns pictures alone for two steps, and the game from then on, with an optimiser of its own."""
    made = balanced(labelled_set, tmp_path / "run", 4)
    made.train(lambda progress: None)
    seen = [{name.partition("/")[0] for name in line if "/" in name} for line in logged(tmp_path / "run")]
    assert seen[:WARM] == [{"pictures", "generator"}] * WARM
    latest = made.run.latest()
    assert latest is not None
    counts = {name: int(state["state"][0]["step"]) for name, state in latest["optimizers"].items()}
    assert counts == {"pictures": 2, "critic": 2, "generator": 4}


def test_a_measure_is_logged_and_moves_nothing(labelled_set: Path, tmp_path: Path) -> None:
    """A term without a gradient has its line in the metrics, and the gradients are those without it."""

    class Unmeasured(Balanced):
        def critic_terms(self, batch: dict[str, torch.Tensor], step: int) -> dict[str, torch.Tensor]:
            return {name: term for name, term in super().critic_terms(batch, step).items() if name != "made"}

        def move_k(self, terms: object) -> None:
            pass

    made = balanced(labelled_set, tmp_path / "run", 4)
    without = balanced(labelled_set, tmp_path / "without", 4, Unmeasured)
    gradients = []
    for each in (made, without):
        each.turn(each.recipe.phases[1], each.sample_batch)
        gradients.append([weights.grad for weights in each.recipe.networks["critic"].parameters()])
    assert all(a is not None and b is not None and torch.equal(a, b) for a, b in zip(*gradients, strict=True))
    made.train(lambda progress: None)
    assert logged(tmp_path / "run")[-1]["critic/made"] > 0


def test_a_gate_is_asked_just_before_its_phase(labelled_set: Path, tmp_path: Path) -> None:
    """What the critic's turn of a step has changed decides on the generator's of the same step."""

    class Gated(Balanced):
        turns = 0

        def move_k(self, terms: object) -> None:
            self.turns += 1

        def due(self, phase: Phase, step: int) -> bool:
            return phase.due(step) and (phase.name != "generator" or self.turns >= 2)

    balanced(labelled_set, tmp_path / "run", 6, Gated).train(lambda progress: None)
    first = next(line["step"] for line in logged(tmp_path / "run") if "generator/made" in line)
    assert first == WARM + 2


def test_a_scalar_state_goes_on_after_a_resume(labelled_set: Path, tmp_path: Path) -> None:
    """k of six steps is k of three, a checkpoint, and three more."""
    whole = balanced(labelled_set, tmp_path / "whole", 6)
    whole.train(lambda progress: None)
    balanced(labelled_set, tmp_path / "parts", 3).train(lambda progress: None)
    parts = balanced(labelled_set, tmp_path / "parts", 6)
    assert parts.step == 3
    parts.train(lambda progress: None)
    assert 0 < k_of(whole) < 1
    assert k_of(whole) == k_of(parts)


@pytest.mark.parametrize("draw", [Share.rand, Share.randn], ids=["uniform", "normal"])
def test_processes_draw_as_one(draw: object, tmp_path: Path) -> None:
    """The rows of two processes are, together, what one draws for the whole batch."""
    rows = []
    for share, n in ((Share(), 4), (Share(0, 2), 2), (Share(1, 2), 2)):
        torch.manual_seed(3)
        rows.append(share.randn(n, LATENT) if draw is Share.randn else share.rand(n, LATENT))
    assert torch.equal(rows[0], torch.cat(rows[1:]))
