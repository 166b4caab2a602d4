"""pix2pix's own choices: noise, inference, what the discriminator sees, the paper's ablations."""

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from support.training import trainer
from torch import Tensor, nn

from models.bundle.manifest import Domain, Picture
from models.data.data import Description
from models.recipes.pix2pix import Pix2Pix, Pix2PixOptions

SMALL: dict[str, Any] = {"size": 64, "width": 4, "discriminator_width": 4, "layers": 2}
DATA = Description(
    name="toy", domains=(Domain(name="label"), Domain(name="photo")), picture=Picture(size=64, crop="none"), count=8
)


def recipe(**options: Any) -> Pix2Pix:
    torch.manual_seed(0)
    return Pix2Pix.create(Pix2PixOptions.model_validate(SMALL | options), DATA)


def batch(count: int = 1) -> dict[str, Tensor]:
    random = torch.Generator().manual_seed(1)
    return {side: torch.rand(count, 3, 64, 64, generator=random) * 2 - 1 for side in "ab"}


def terms(made: Pix2Pix, phase: str, given: dict[str, Tensor]) -> dict[str, Tensor]:
    torch.manual_seed(2)
    (asked,) = (each for each in made.phases if each.name == phase)
    return asked.terms(asked.before(given), 0)


def test_published_defaults() -> None:
    """A training without options is the published one: a U-Net of 8 levels with dropout, and a PatchGAN of 70."""
    options = Pix2PixOptions.model_validate({})
    assert (options.size, options.batch, options.depth, options.layers, options.dropout) == (256, 1, 8, 3, True)
    assert (options.objective, options.reconstruction, options.rate, options.beta1) == ("vanilla", 100, 2e-4, 0.5)
    with torch.device("meta"):
        made = Pix2Pix(options)
    counts = {name: sum(p.numel() for p in network.parameters()) for name, network in made.networks.items()}
    assert counts == {"generator": 54_413_955, "discriminator": 2_768_705}


@pytest.mark.parametrize(("size", "depth"), [(512, 8), (256, 8), (128, 7), (96, 5), (64, 6), (16, 4)])
def test_the_generator_is_as_deep_as_the_size_allows(size: int, depth: int) -> None:
    """128 pixels take 7 levels and 64 take 6; beyond 8 it gets no deeper."""
    assert Pix2PixOptions.model_validate({"size": size, "layers": 1}).depth == depth


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"size": 63}, "size 63 can be halved 0 times"),
        ({"size": 64, "levels": 7}, "size 64 can be halved 6 times"),
        ({"size": 64, "layers": 5}, "5 layers need a size of 96"),
        ({"adversarial": 0, "reconstruction": 0}, "there is nothing to learn"),
        ({"domains": "a photo!"}, "is not a domain"),
    ],
)
def test_options_that_do_not_fit_each_other_are_refused(options: dict[str, Any], message: str) -> None:
    """What could not be built or learned is named before anything begins."""
    with pytest.raises(Exception, match=message):
        Pix2PixOptions.model_validate(options)


def test_training_pictures_are_loaded_larger_and_cropped(pair_set: Path) -> None:
    """286 for 256 and so in proportion, 72 for 64, unless load_size says another; held-out pictures are not cropped."""
    plain, same = (Pix2PixOptions.model_validate(SMALL | more) for more in ({}, {"load_size": 64}))
    assert Pix2Pix.read(pair_set, plain, "train").pictures.picture.size == 72
    assert Pix2Pix.read(pair_set, same, "train").pictures.picture.size == 64
    assert Pix2Pix.read(pair_set, plain, "test").pictures.picture.size == 64


def test_both_players_of_a_step_see_one_noise() -> None:
    """The picture that the discriminator judges is, to the bit, the one that the generator is then judged by."""
    made = recipe(objective="wgan-gp")
    seen: list[Tensor] = []
    made.generator.register_forward_hook(lambda module, given, output: seen.append(output.detach()))
    for phase in made.phases:
        terms(made, phase.name, batch())
    assert torch.equal(*seen)
    terms(made, "generator", batch())
    torch.manual_seed(3)
    made.generator_terms(made.draw_mix(batch()), 0)
    assert torch.equal(seen[2], seen[1])
    assert not torch.equal(seen[3], seen[1])


def test_terms_are_those_of_the_equations() -> None:
    """At scores of 0 the halved discriminator loses log 2, the generator log 2, and lambda times the distance."""
    for distance, measure in (("l1", torch.abs), ("l2", torch.square)):
        made = recipe(dropout=False, distance=distance, reconstruction=10)
        last = list(made.networks["discriminator"].modules())[-1]
        assert isinstance(last, nn.Conv2d)
        nn.init.zeros_(last.weight)
        given = batch()
        far = measure(given["b"] - made.generator(given["a"])).mean().item()
        assert terms(made, "discriminator", given)["adversarial"].item() == pytest.approx(math.log(2))
        losses = terms(made, "generator", given)
        assert losses["adversarial"].item() == pytest.approx(math.log(2))
        assert losses["reconstruction"].item() == pytest.approx(10 * far, rel=1e-5)


@pytest.mark.parametrize("conditional", [True, False])
def test_only_a_conditional_discriminator_sees_the_input(conditional: bool) -> None:
    """Another input with the same output changes the score of a cGAN, and not that of a GAN."""
    made = recipe(conditional=conditional, norm="instance")
    one, other = batch(2)["a"].chunk(2)
    judge = made.networks["discriminator"]
    scores = [judge(made.discriminator_input(x, one)) for x in (one, other)]
    assert torch.equal(*scores) != conditional


def test_without_the_adversary_there_is_none() -> None:
    """L1 alone, the paper's first row, trains a generator and nothing else."""
    made = recipe(adversarial=0)
    assert [phase.name for phase in made.phases] == ["generator"]
    assert list(made.networks) == ["generator"]
    assert list(terms(made, "generator", batch())) == ["reconstruction"]


def test_the_adversary_alone_has_no_distance() -> None:
    """The paper's row cGAN: with reconstruction 0 only the adversarial term is left."""
    assert list(terms(recipe(reconstruction=0), "generator", batch())) == ["adversarial"]


def test_direction_says_what_is_made_of_what() -> None:
    """BtoA takes b, and makes what a is; the bundle's domain is named after the half that is made."""
    given = batch()
    there, back = recipe(dropout=False), recipe(dropout=False, direction="BtoA")
    swapped = {"a": given["b"], "b": given["a"]}
    assert torch.equal(there.samples(given), back.samples(swapped))
    assert [made.exported()["generator"].source for made in (there, back)] == ["a", "b"]
    assert [made.manifest("x", DATA).domains[0].name for made in (there, back)] == ["photo", "label"]
    assert recipe(domains="Street View").manifest("x", DATA).domains[0].name == "street-view"


def test_inference_by_batch_statistics_is_training_mode_without_dropout() -> None:
    """Each picture comes out as in a batch of its own, the same each time, and nothing in the network moves."""
    made, given = recipe(), batch(2)
    before = {name: value.clone() for name, value in made.generator.state_dict().items()}
    shown = made.samples(given)[:, 1]
    assert torch.equal(made.samples(given)[:, 1], shown)
    assert all(torch.equal(value, before[name]) for name, value in made.generator.state_dict().items())
    for module in made.generator.modules():
        if isinstance(module, nn.Dropout):
            module.eval()
    alone = torch.cat([made.generator(x[None]) for x in given["a"]])
    assert torch.allclose(shown, alone, atol=1e-6)


def test_live_dropout_shows_other_pictures_each_time_and_exports_one() -> None:
    """Samples are drawn anew as in the official test, while the exported network has no noise."""
    made, given = recipe(inference="live"), batch()
    assert not torch.equal(made.samples(given), made.samples(given))
    exported = made.exported()["generator"].module
    assert torch.equal(exported(given["a"]), exported(given["a"]))
    assert "dropout, alive in the samples" in made.manifest("x", DATA).training["inference"]


def test_running_statistics_are_the_networks_own(pair_set: Path, tmp_path: Path) -> None:
    """`running` shows what eval() gives, which differs from the picture's own statistics."""
    made = trainer("pix2pix", pair_set, tmp_path / "run", 2, "inference=running", "average=0")
    made.turn(made.recipe.phases[1], made.sample_batch)
    running, own = made.recipe, recipe(norm="batch")
    assert isinstance(running, Pix2Pix)
    own.generator.load_state_dict(running.generator.state_dict())
    given = batch()
    assert torch.equal(running.samples(given)[:, 1], running.generator.eval()(given["a"]))
    assert not torch.allclose(running.samples(given)[:, 1], own.samples(given)[:, 1], atol=1e-3)
