"""CycleGAN's own choices: the pool, the order of the players, cycles on and off, two directions."""

from pathlib import Path
from typing import Any

import pytest
import torch
from support.training import trainer
from torch import Tensor, nn

from models.bundle.manifest import Domain, Picture
from models.data.data import Description
from models.recipes.cyclegan import CycleGAN, CycleGANOptions, PicturePool

SMALL: dict[str, Any] = {"size": 32, "width": 4, "blocks": 1, "discriminator_width": 4, "layers": 2}
DATA = Description(
    name="toy", domains=(Domain(name="horse"), Domain(name="zebra")), picture=Picture(size=32, crop="none"), count=8
)


def recipe(**options: Any) -> CycleGAN:
    torch.manual_seed(0)
    return CycleGAN.create(CycleGANOptions.model_validate(SMALL | options), DATA)


def batch(count: int = 2) -> dict[str, Tensor]:
    random = torch.Generator().manual_seed(1)
    return {side: torch.rand(count, 3, 32, 32, generator=random) * 2 - 1 for side in "ab"}


def generator_terms(made: CycleGAN, given: dict[str, Tensor]) -> dict[str, Tensor]:
    generators = made.phases[0]
    return generators.terms(generators.before(given), 0)


def test_published_defaults() -> None:
    """A training without options is the published one, 28,285,832 weights in all."""
    options = CycleGANOptions.model_validate({})
    published = (256, 1, 9, 3, 50, "lsgan", 1, 10, 10, 0.5, 2e-4, 0.5)
    assert published == (
        options.size, options.batch, options.blocks, options.layers, options.pool, options.objective,
        options.adversarial, options.cycle_a, options.cycle_b, options.identity, options.rate, options.beta1,
    )  # fmt: skip
    with torch.device("meta"):
        made = CycleGAN(options)
    assert sum(p.numel() for network in made.networks.values() for p in network.parameters()) == 28_285_832


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"size": 130}, "multiple of 4"),
        ({"size": 64, "layers": 5}, "5 layers need a size of 96"),
        ({"adversarial": 0, "cycle_a": 0, "cycle_b": 0}, "there is nothing to learn"),
    ],
)
def test_options_that_do_not_fit_each_other_are_refused(options: dict[str, Any], message: str) -> None:
    """What could not be built or learned is named before anything begins."""
    with pytest.raises(ValueError, match=message):
        CycleGANOptions.model_validate(options)


ALL = {"adversarial_a", "adversarial_b", "cycle_a", "cycle_b", "identity_a", "identity_b"}


@pytest.mark.parametrize(
    ("options", "names"),
    [
        ({}, ALL),
        ({"identity": 0}, ALL - {"identity_a", "identity_b"}),
        ({"identity": 0, "cycle_b": 0}, {"adversarial_a", "adversarial_b", "cycle_a"}),
        ({"identity": 0, "cycle_a": 0}, {"adversarial_a", "adversarial_b", "cycle_b"}),
        ({"cycle_a": 0, "cycle_b": 0}, {"adversarial_a", "adversarial_b"}),
        ({"adversarial": 0, "identity": 0}, {"cycle_a", "cycle_b"}),
    ],
    ids=["full", "no identity", "GAN + forward", "GAN + backward", "GAN alone", "cycle alone"],
)
def test_every_ablation_of_the_paper_can_be_said(options: dict[str, Any], names: set[str]) -> None:
    """Weights of 0 leave their terms out, and with the adversary its networks; all that is left still trains."""
    made = recipe(**options)
    terms = generator_terms(made, batch())
    assert terms.keys() == names
    assert len(made.phases) == (2 if "adversarial_a" in names else 1)
    torch.autograd.backward(torch.stack(list(terms.values())).sum())
    assert all(p.grad is not None for name in made.averaged for p in made.networks[name].parameters())


def test_terms_are_those_of_the_equations() -> None:
    """Scores of 0 cost the generators 1 each; cycles and identities are weighted distances of the made pictures."""
    made, given = recipe(cycle_a=3, cycle_b=5), batch()
    for side in "ab":
        last = list(made.networks[f"discriminator_{side}"].modules())[-1]
        assert isinstance(last, nn.Conv2d)
        nn.init.zeros_(last.weight)
    a, b = given["a"], given["b"]
    there, back = made.networks["a_to_b"], made.networks["b_to_a"]
    expected = {
        "adversarial_a": torch.tensor(1.0),
        "adversarial_b": torch.tensor(1.0),
        "cycle_a": 3 * (back(there(a)) - a).abs().mean(),
        "cycle_b": 5 * (there(back(b)) - b).abs().mean(),
        "identity_a": 1.5 * (back(a) - a).abs().mean(),
        "identity_b": 2.5 * (there(b) - b).abs().mean(),
    }
    terms = generator_terms(made, given)
    assert {name: value.item() for name, value in terms.items()} == pytest.approx(
        {name: value.item() for name, value in expected.items()}, rel=1e-5
    )
    judged = made.discriminator_terms(made.take_from_pools(given), 0)
    assert {name: value.item() for name, value in judged.items()} == {"adversarial_a": 0.5, "adversarial_b": 0.5}


def test_discriminators_see_what_generators_made_before_they_moved(unpaired_set: Path, tmp_path: Path) -> None:
    """In the official order the fakes of a step are made once, with the weights that the step began with."""
    made = trainer("cyclegan", unpaired_set, tmp_path / "run", 2, "pool=0")
    before = made.recipe.networks["a_to_b"](made.sample_batch["a"]).detach()
    made.turn(made.recipe.phases[0], made.sample_batch)
    after = made.recipe.networks["a_to_b"](made.sample_batch["a"]).detach()
    seen = made.recipe.phases[1].before(made.sample_batch)["made_b"]
    assert torch.equal(seen, before)
    assert not torch.equal(seen, after)


def numbered(*numbers: float) -> Tensor:
    """Pictures of one pixel that tell their number."""
    return torch.tensor(numbers, dtype=torch.float32).view(-1, 1, 1, 1)


def test_the_pool_fills_first_and_then_gives_every_other_time_an_old_picture() -> None:
    """The pool returns the first three unchanged; later about half are older ones, each returned once."""
    torch.manual_seed(0)
    pool = PicturePool(3)
    assert torch.equal(pool.exchange(numbered(0, 1, 2)), numbered(0, 1, 2))
    given = [pool.exchange(numbered(number)).item() for number in range(3, 203)]
    old = [number for place, number in enumerate(given, 3) if number != place]
    assert 80 < len(old) < 120
    assert len(set(given)) == len(given)


def test_a_pool_of_nothing_gives_what_was_made() -> None:
    """pool=0 shows the discriminators the newest pictures, without a gradient to the generator."""
    made = numbered(1, 2).requires_grad_()
    assert torch.equal(PicturePool(0).exchange(made), made)
    assert not PicturePool(0).exchange(made).requires_grad


def test_the_bundle_makes_each_domain_of_the_other() -> None:
    """Zebras, which are B, are made by the graph that takes A, and horses by the other."""
    made = recipe()
    manifest = made.manifest("x", DATA)
    assert {domain.name: domain.graph for domain in manifest.domains} == {"horse": "b-to-a", "zebra": "a-to-b"}
    assert {name: graph.source for name, graph in made.exported().items()} == {"a-to-b": "a", "b-to-a": "b"}
    assert made.exported()["a-to-b"].module is made.networks["a_to_b"]


def test_samples_show_both_ways_and_back() -> None:
    """A, made B, A again; then B, made A, B again."""
    made, given = recipe(), batch()
    shown = made.samples(given)
    assert shown.shape == (2, 6, 3, 32, 32)
    assert torch.equal(shown[:, 0], given["a"])
    assert torch.equal(shown[:, 2], made.networks["b_to_a"](shown[:, 1]))
    assert torch.equal(shown[:, 5], made.networks["a_to_b"](shown[:, 4]))
