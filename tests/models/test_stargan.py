"""StarGAN's own choices: targets, joint sets, schedule, options."""

import math
from pathlib import Path
from typing import cast

import pytest
import torch
from support.data import DOMAINS, labelled_folder
from support.training import trained
from torch import Tensor

from models.bundle.manifest import Domain, Picture
from models.data.data import Description
from models.data.tables import UNKNOWN, parse_domains
from models.objectives.diffaugment import erase
from models.recipes.columns import Columns
from models.recipes.stargan import StarGAN, StarGANOptions


def description() -> Description:
    return Description(name="toy", domains=parse_domains(DOMAINS), picture=Picture(size=32), count=8)


def recipe(**options: float | str) -> StarGAN:
    small = {"size": 32, "width": 4, "blocks": 1, "critic_width": 4, "critic_layers": 3}
    return StarGAN.create(StarGANOptions.model_validate(small | options), description())


LABELS = torch.tensor([[1.0, 0, 1], [0, 1, 0], [1, 0, 0], [0, 1, 1]])
ONES = torch.ones(4, 1)

JOINT = (
    Domain(name="red", group="hue", mask="toy", column=0),
    Domain(name="green", group="hue", mask="toy", column=1),
    Domain(name="bright", mask="toy", column=2),
    Domain(name="dark", group="shade", mask="shade", column=3),
    Domain(name="light", group="shade", mask="shade", column=4),
)
MASKS = torch.tensor([[1.0, 0], [0, 1], [1, 0], [0, 1], [1, 0], [0, 1]])
U = UNKNOWN
JOINT_LABELS = torch.tensor(
    [[1.0, 0, 1, U, U], [U, U, U, 1, 0], [0, 1, 0, U, U], [U, U, U, 0, 1], [0, 1, 1, U, U], [U, U, U, 1, 0]]
)
GAPS = torch.tensor([[U, U, 1], [0, 1, U], [1, 0, U], [0, 1, 1]])


def joint(**options: float | str) -> StarGAN:
    small = {"size": 32, "width": 4, "blocks": 1, "critic_width": 4, "critic_layers": 3}
    return StarGAN(StarGANOptions.model_validate(small | options), JOINT, ("toy", "shade"))


def targets(made: StarGAN, labels: Tensor, masks: Tensor) -> Tensor:
    """The targets that a recipe draws for these labels and masks."""
    return made.with_targets({"labels": labels, "masks": masks})["targets"]


def test_targets_are_a_permutation_of_the_batch() -> None:
    """With keep=0, the paper's way, every target is some picture's label vector, each used once."""
    made = targets(recipe(), LABELS, ONES)
    assert sorted(made.tolist()) == sorted(LABELS.tolist())


def test_kept_groups_stay_whole() -> None:
    """With keep near 1 no target ever mixes two labels within a group, and most are the picture's own."""
    torch.manual_seed(0)
    made = torch.cat([targets(recipe(keep=0.9), LABELS, ONES) for _ in range(50)])
    assert (made[:, :2].sum(1) == 1).all()
    assert (made == LABELS.repeat(50, 1)).float().mean() > 0.8


def test_asking_for_a_group_member_switches_its_fellows_off() -> None:
    """Green is set where red was; an attribute outside of the group is turned over alone."""
    columns = Columns(description().domains, ())
    assert columns.request(LABELS, 1)[0].tolist() == [[0, 1, 1], [0, 1, 0], [0, 1, 0], [0, 1, 1]]
    assert columns.request(LABELS, 2)[0].tolist() == [[1, 0, 0], [0, 1, 1], [1, 0, 1], [0, 1, 0]]


def test_targets_of_joint_sets_stay_within_their_set() -> None:
    """Each set's labels are permuted among its own pictures, and the other set's columns stay unknown."""
    torch.manual_seed(0)
    made = [targets(joint(), JOINT_LABELS, MASKS) for _ in range(20)]
    for rows in (MASKS[:, 0] == 1, MASKS[:, 1] == 1):
        assert all(sorted(drawn[rows].tolist()) == sorted(JOINT_LABELS[rows].tolist()) for drawn in made)
    assert any(not torch.equal(drawn, JOINT_LABELS) for drawn in made)


def test_a_picture_is_judged_by_the_labels_of_its_own_set() -> None:
    """Attributes cost log 2 each and two classes log 2 together, at logits of 0; what is unknown has no gradient."""
    logits = torch.zeros(6, 5, requires_grad=True)
    loss = Columns(JOINT, ("toy", "shade")).loss(logits, JOINT_LABELS)
    assert loss.item() == pytest.approx((3 * 3 + 3 * 1) * math.log(2) / 6)
    (gradient,) = torch.autograd.grad(loss, logits)
    assert torch.equal(gradient[:, :3] != 0, (MASKS[:, :1] == 1).expand(-1, 3))
    assert torch.equal(gradient[:, 3:] != 0, (MASKS[:, 1:] == 1).expand(-1, 2))


def test_a_set_of_classes_alone_is_learned_by_cross_entropy() -> None:
    """One group is classes, RaFD's way; with an attribute beside it, or none grouped, labels are attributes."""
    classes = Columns(parse_domains("mood=happy|sad|angry"), ())
    assert classes.loss(torch.zeros(1, 3), torch.eye(3)[:1]).item() == pytest.approx(math.log(3))
    mixed = Columns(parse_domains("mood=happy|sad,young"), ())
    assert mixed.loss(torch.zeros(1, 3), torch.eye(3)[:1]).item() == pytest.approx(3 * math.log(2))


def test_asking_for_a_domain_of_another_set_sets_its_mask_and_clears_the_rest() -> None:
    """As in training, the labels of all sets except the requested one are 0."""
    columns = Columns(JOINT, ("toy", "shade"))
    labels = torch.tensor([[1.0, 0, 1, U, U]])
    assert [one.tolist() for one in columns.request(labels, 4)] == [[[0, 0, 0, 0, 1]], [[0, 1]]]
    assert [one.tolist() for one in columns.request(labels, 2)] == [[[1, 0, 0, 0, 0]], [[1, 0]]]


def test_labels_that_a_set_does_not_know_are_read_by_the_critic() -> None:
    """A picture keeps its own set's labels; of other sets it gets the likeliest of each group and logits above 0."""
    logits = torch.tensor([[-9.0, 9, -9, 1, 2], [2, 1, 3, 9, -9]])
    made = Columns(JOINT, ("toy", "shade")).fill_unknown(JOINT_LABELS[:2], logits)
    assert made.tolist() == [[1, 0, 1, 0, 1], [1, 0, 1, 1, 0]]


def test_unknown_labels_cost_nothing_and_teach_nothing() -> None:
    """At logits of 0 each known label costs log 2, eight of twelve here; the gradient of the others is 0."""
    logits = torch.zeros(4, 3, requires_grad=True)
    loss = Columns(description().domains, ()).loss(logits, GAPS)
    assert loss.item() == pytest.approx(8 * math.log(2) / 4)
    (gradient,) = torch.autograd.grad(loss, logits)
    assert torch.equal(gradient != 0, GAPS != UNKNOWN)


def test_an_unknown_class_costs_nothing() -> None:
    """Of a set of classes a picture without a known one has no part in the loss."""
    classes = Columns(parse_domains("mood=happy|sad"), ())
    loss = classes.loss(torch.zeros(2, 2), torch.tensor([[1.0, 0], [U, U]]))
    assert loss.item() == pytest.approx(math.log(2) / 2)


def test_an_unknown_target_keeps_the_pictures_own_label() -> None:
    """After any permutation a target is unknown only where the picture's own label is."""
    torch.manual_seed(0)
    made = torch.stack([targets(recipe(), GAPS, ONES) for _ in range(50)])
    assert not (made == UNKNOWN)[:, GAPS != UNKNOWN].any()
    assert (made[:, GAPS == UNKNOWN] != UNKNOWN).any()


def test_the_critic_reads_unknown_labels_for_the_generator() -> None:
    """The critic fills the gaps of labels and targets alike, one member of each group; known labels stay."""
    made = recipe()
    batch = {"pixels": torch.rand(4, 3, 32, 32), "labels": GAPS, "targets": GAPS, "masks": ONES}
    c, c_t = made._fill_unknown(batch)
    read = made.critic(batch["pixels"])[1]
    assert torch.equal(c, c_t)
    assert torch.equal(c[GAPS != UNKNOWN], GAPS[GAPS != UNKNOWN])
    assert torch.equal(c[0, :2], torch.eye(2)[read[0, :2].argmax()])
    assert torch.equal(c[1:3, 2], (read[1:3, 2] > 0).float())


def test_gaps_in_the_labels_train_alike_in_parts(tmp_path: Path) -> None:
    """With unknown labels too, a batch taken in two parts gives the losses of one taken whole."""
    data = labelled_folder(tmp_path / "set", unknown=True)
    whole = trained("stargan", data, tmp_path / "whole", 2)
    parts = trained("stargan", data, tmp_path / "parts", 2, "accumulate=2")
    assert parts.losses == pytest.approx(whole.losses, rel=1e-4, abs=1e-5)
    assert all(math.isfinite(value) for value in whole.losses.values())


def test_the_generator_is_told_the_mask() -> None:
    """The same labels with another mask make another picture, and a bundle's generator has columns for both."""
    made = joint()
    x, c = torch.rand(2, 3, 32, 32), torch.zeros(2, 5)
    with torch.no_grad():
        toy, shade = (made._translate(x, c, torch.tensor([mask]).expand(2, -1)) for mask in ([1.0, 0], [0, 1.0]))
    assert not torch.allclose(toy, shade, atol=1e-3)
    assert made.exported()["generator"].inputs[1].shape == (7,)


def test_a_size_that_does_not_halve_evenly_is_refused() -> None:
    """96 pixels have no six halvings; the message says which number they would have to be a multiple of."""
    with pytest.raises(ValueError, match="size 96 is no multiple of 64"):
        StarGANOptions.model_validate({"size": 96})


def test_linear_decay_falls_to_zero_from_its_begin() -> None:
    """Rate 1 up to half of the steps, one half at three quarters, zero at the end."""
    made = recipe(steps=100)
    assert [made.rate(step) for step in (0, 49, 75, 100)] == [1, 1, 0.5, 0]


def test_official_decay_hardly_moves() -> None:
    """The official code takes lr/100,000 off each thousandth step after the 100,000th: 9.99e-5 remains of 1e-4."""
    made = recipe(steps=200_000, decay="official")
    assert made.rate(100_999) == 1
    assert made.rate(200_000) == 1 - 100 / 100_000


def test_generator_waits_for_the_warm_up_and_comes_on_every_nth_step() -> None:
    """With 3 steps of warm-up and every second step its own, the generator moves at steps 3, 5 and 7."""
    critic, generator = recipe(warmup=3, generator_every=2).phases
    assert [step for step in range(8) if generator.due(step)] == [3, 5, 7]
    assert all(critic.due(step) for step in range(8))


def test_published_defaults() -> None:
    """A training without options is the published one."""
    options = StarGANOptions.model_validate({})
    published = (128, 16, 200_000, 64, 6, 5, 1e-4, 1.0, 10.0, 10.0, False, 0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0)
    assert options.objective == "wgan-gp"
    assert published == (
        options.size, options.batch, options.steps, options.width, options.blocks, options.generator_every,
        options.rate, options.classification, options.reconstruction, options.penalty,
        options.mask, options.warmup, options.keep, options.identity, options.erase,
        options.shift, options.blur, options.smoothing, options.balance,
    )  # fmt: skip


def test_a_closed_mask_lets_the_picture_through() -> None:
    """With the mask shut the picture comes back to the bit; wide open, the painted one comes out."""
    generator = recipe(mask=True).generator
    assert generator.mask is not None
    pixels = torch.rand(2, 3, 32, 32) * 2 - 1
    torch.nn.init.constant_(cast(Tensor, generator.mask.bias), -200.0)
    assert torch.equal(generator(pixels, LABELS[:2]), pixels)
    torch.nn.init.constant_(cast(Tensor, generator.mask.bias), 200.0)
    painted = generator.main(torch.cat([pixels, LABELS[:2, :, None, None].expand(-1, -1, 32, 32)], dim=1))
    assert torch.equal(generator(pixels, LABELS[:2]), painted)


@pytest.mark.parametrize("change", ["erase=0.5", "shift=0.25"])
def test_real_and_made_pictures_are_seen_through_the_same_change(change: str) -> None:
    """What is drawn once for a picture changes it and its translation alike, and each picture otherwise."""
    torch.manual_seed(0)
    name, strength = change.split("=")
    made = recipe(**{name: strength})
    pixels = torch.rand(1, 3, 32, 32).expand(4, -1, -1, -1)
    batch = made.draw_for_critic({"pixels": pixels, "labels": LABELS})
    seen = made._seen(pixels, batch)
    assert torch.equal(seen, made._seen(pixels, batch))
    assert not torch.equal(seen, pixels)
    assert not torch.equal(seen[0], seen[1])


def test_the_critic_never_sees_what_is_erased() -> None:
    """Pixels within the square change no term of the critic; the same change beside it does."""
    made = recipe(erase=0.5)
    torch.manual_seed(0)
    batch = made.draw_for_critic({"pixels": torch.rand(4, 3, 32, 32), "labels": LABELS})
    window = erase(torch.ones(4, 1, 32, 32), batch["erase"], 0.5)
    hidden = {**batch, "pixels": batch["pixels"] + 5 * (1 - window)}
    shown = {**batch, "pixels": batch["pixels"] + 5 * window}
    first, second, third = (made.critic_terms(each, 0)["classification"] for each in (batch, hidden, shown))
    assert torch.equal(first, second)
    assert not torch.equal(first, third)


@pytest.mark.parametrize("phase", ["critic", "generator"])
def test_what_is_classified_is_blurred_and_what_is_scored_is_sharp(phase: str) -> None:
    """The same draws with blur and without give the same adversarial term, and another classification."""
    made, sharp = recipe(blur=3), recipe()
    for name, network in sharp.networks.items():
        network.load_state_dict(made.networks[name].state_dict())
    own, other = ({each.name: each for each in one.phases}[phase] for one in (made, sharp))
    batch = own.before({"pixels": torch.rand(4, 3, 32, 32), "labels": LABELS})
    terms, expected = (each.terms(batch, 0) for each in (own, other))
    assert terms["adversarial"] == expected["adversarial"]
    assert terms["classification"] != expected["classification"]


def test_a_projection_scores_pictures_by_the_labels_that_they_claim() -> None:
    """Other labels change the score and not the logits; unknown ones score as no labels do; without it none matter."""
    made, plain = recipe(projection=True).critic, recipe().critic
    pixels, unknown = torch.rand(4, 3, 32, 32), torch.full_like(LABELS, UNKNOWN)
    score, logits = made(pixels, LABELS)
    other, same_logits = made(pixels, 1 - LABELS)
    assert torch.equal(logits, same_logits)
    assert not torch.equal(score, other)
    assert torch.equal(made(pixels, unknown)[0], made(pixels)[0])
    assert torch.equal(plain(pixels, LABELS)[0], plain(pixels)[0])


def test_a_projection_is_trained_by_real_and_made_pictures() -> None:
    """Both of the critic's terms that see scores reach it, and so does the generator's adversarial term."""
    made = recipe(projection=True)
    assert made.critic.projection is not None
    batch = made.draw_for_critic({"pixels": torch.rand(4, 3, 32, 32), "labels": LABELS})
    for name in ("adversarial", "penalty"):
        (gradient,) = torch.autograd.grad(made.critic_terms(batch, 0)[name], [made.critic.projection.weight])
        assert gradient.abs().sum() > 0


def test_what_the_critic_sees_is_the_same_in_parts(labelled_set: Path, tmp_path: Path) -> None:
    """All changes are drawn for the whole batch: taken in two parts it gives the losses of one taken whole."""
    options = ("shift=0.2", "blur=1", "smoothing=0.1", "balance=0.5", "projection=true")
    whole = trained("stargan", labelled_set, tmp_path / "whole", 2, *options)
    parts = trained("stargan", labelled_set, tmp_path / "parts", 2, *options, "accumulate=2")
    assert parts.losses == pytest.approx(whole.losses, rel=1e-4, abs=1e-5)
