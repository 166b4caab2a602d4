"""The networks have the published layers: parameter counts, shapes, keys."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from models.networks.layers import initialise, per_picture, twin
from models.networks.patch import PatchDiscriminator, PixelDiscriminator, discriminator, smallest_side
from models.networks.resnet import ResNet
from models.networks.stargan import Critic, Generator
from models.networks.unet import UNet
from models.objectives.adversarial import clip_weights

PUBLISHED: list[tuple[str, Callable[[], nn.Module], int]] = [
    ("StarGAN G, 5 labels", lambda: Generator(5), 8_430_528),
    ("StarGAN G, 8 labels", lambda: Generator(8), 8_439_936),
    ("StarGAN G, 15 labels", lambda: Generator(15), 8_461_888),
    ("StarGAN D, 128 px, 5 labels", lambda: Critic(5), 44_762_048),
    ("StarGAN D, 128 px, 8 labels", lambda: Critic(8), 44_786_624),
    ("StarGAN D, 128 px, 13 labels", lambda: Critic(13), 44_827_584),
    ("StarGAN D, 256 px, 5 labels", lambda: Critic(5, 256), 44_884_928),
    ("StarGAN D, 256 px, 13 labels", lambda: Critic(13, 256), 45_147_072),
    ("ResNet 9, instance", lambda: ResNet(), 11_378_179),
    ("ResNet 9, batch", lambda: ResNet(kind="batch"), 11_383_427),
    ("ResNet 6, instance", lambda: ResNet(blocks=6), 7_837_699),
    ("ResNet 6, batch", lambda: ResNet(blocks=6, kind="batch"), 7_841_411),
    ("U-Net 256, batch", lambda: UNet(), 54_413_955),
    ("U-Net 256, instance", lambda: UNet(kind="instance"), 54_409_603),
    ("U-Net 128, batch", lambda: UNet(levels=7), 41_828_995),
    ("U-Net 128, instance", lambda: UNet(levels=7, kind="instance"), 41_825_667),
    ("PatchGAN 70, 3 channels, instance", lambda: PatchDiscriminator(), 2_764_737),
    ("PatchGAN 70, 3 channels, batch", lambda: PatchDiscriminator(kind="batch"), 2_765_633),
    ("PatchGAN 70, 6 channels, batch", lambda: PatchDiscriminator(6, kind="batch"), 2_768_705),
    ("PatchGAN 70, 6 channels, instance", lambda: PatchDiscriminator(6), 2_767_809),
    ("pixel, 6 channels, batch", lambda: PixelDiscriminator(6, kind="batch"), 9_024),
    ("pixel, 3 channels, instance", lambda: PixelDiscriminator(), 8_705),
]


def parameters(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


@pytest.mark.parametrize(("build", "count"), [row[1:] for row in PUBLISHED], ids=[row[0] for row in PUBLISHED])
def test_parameter_count_is_the_published_one(build: Callable[[], nn.Module], count: int) -> None:
    """Every network has exactly as many parameters as the official code's."""
    with torch.device("meta"):  # shapes alone: no memory is taken
        assert parameters(build()) == count


@pytest.mark.parametrize(
    ("build", "entries"),
    [
        (ResNet, 48),
        (lambda: ResNet(kind="batch"), 140),
        (UNet, 82),
        (lambda: UNet(kind="instance"), 32),
        (lambda: UNet(levels=7), 70),
    ],
    ids=["resnet-in", "resnet-bn", "unet256-bn", "unet256-in", "unet128-bn"],
)
def test_state_dict_has_the_published_entries(build: Callable[[], nn.Module], entries: int) -> None:
    """A state dict has as many entries as an official checkpoint of the same network."""
    with torch.device("meta"):
        assert len(build().state_dict()) == entries


def test_dropout_moves_the_second_convolution_of_a_residual_block() -> None:
    """Dropout shifts conv_block.5 to conv_block.6, as it does in official checkpoints."""
    assert "model.10.conv_block.5.weight" in ResNet().state_dict()
    assert "model.10.conv_block.6.weight" in ResNet(dropout=True).state_dict()


@pytest.mark.parametrize(("layers", "field"), [(0, 1), (1, 16), (3, 70), (5, 286)])
def test_a_patch_score_sees_exactly_its_receptive_field(layers: int, field: int) -> None:
    """The gradient of one score reaches `field` x `field` pixels, no more and no fewer."""
    size = max(128, 2 * field)
    pixels = torch.rand(1, 3, size, size, requires_grad=True)
    # Batch norm in eval mode: instance norm would join all pixels through its statistics.
    scores = discriminator(layers=layers, width=8, kind="batch").eval()(pixels)
    middle = scores.shape[2] // 2
    (gradient,) = torch.autograd.grad(scores[0, 0, middle, middle], pixels)
    rows = gradient.abs().sum((0, 1, 3)).nonzero()
    assert int(rows.max() - rows.min()) + 1 == field


def translate(network: nn.Module, height: int, width: int) -> Tensor:
    with torch.no_grad():
        result: Tensor = network(torch.rand(1, 3, height, width) * 2 - 1)
    return result


@pytest.mark.parametrize(("height", "width", "expected"), [(64, 48, (64, 48)), (62, 66, (60, 64))])
def test_stargan_rounds_sides_down_to_four(height: int, width: int, expected: tuple[int, int]) -> None:
    """The generator's output sides are the input's, rounded down to a multiple of 4."""
    with torch.no_grad():
        made = Generator(2, width=8, blocks=1)(torch.rand(1, 3, height, width), torch.zeros(1, 2))
    assert made.shape[2:] == expected


@pytest.mark.parametrize(("height", "width", "expected"), [(63, 66, (64, 68)), (5, 5, (8, 8))])
def test_resnet_rounds_sides_up_to_four(height: int, width: int, expected: tuple[int, int]) -> None:
    """The ResNet's output sides are the input's, rounded up to a multiple of 4."""
    assert translate(ResNet(width=8, blocks=6), height, width).shape[2:] == expected


def test_unet_keeps_multiples_of_its_depth_and_refuses_others() -> None:
    """A U-Net of 7 levels takes sides of 128 and fails on 160, as the official one does."""
    network = UNet(levels=7, width=8, dropout=False)
    assert translate(network, 128, 256).shape == (1, 3, 128, 256)
    with pytest.raises(RuntimeError, match="size"):
        translate(network, 160, 160)


@pytest.mark.parametrize("levels", [2, 4, 5, 6])
def test_small_unets_go_down_to_one_pixel(levels: int) -> None:
    """A U-Net for small pictures halves them down to 1x1 and back; dropout begins at the sixth level."""
    network = UNet(levels=levels, width=4)
    assert translate(network, 2**levels, 2**levels).shape[2:] == (2**levels, 2**levels)
    assert sum(isinstance(module, nn.Dropout) for module in network.modules()) == max(0, levels - 5)


def test_without_skips_nothing_passes_but_through_the_bottom() -> None:
    """The encoder-decoder knows of a picture only what its one innermost pixel keeps; the U-Net knows it all."""
    for skips in (True, False):
        network = UNet(levels=3, width=4, kind="instance", dropout=False, skips=skips)
        innermost = network.get_submodule("model.model.1.model.3.model.1")
        innermost.register_forward_hook(lambda module, given, made: torch.zeros_like(made))
        torch.manual_seed(0)
        assert torch.equal(translate(network, 8, 8), translate(network, 8, 8)) != skips


@pytest.mark.parametrize("layers", [1, 2, 3])
def test_the_smallest_side_of_a_discriminator_leaves_one_score(layers: int) -> None:
    """At its smallest side it gives one score, and one less is refused."""
    side = smallest_side(layers)
    assert translate(discriminator(layers=layers, width=4), side, side).shape[2:] == (1, 1)
    with pytest.raises((RuntimeError, ValueError)):
        translate(discriminator(layers=layers, width=4), side - 1, side - 1)


def test_a_picture_normalised_by_itself_is_a_batch_of_one() -> None:
    """Batch norm's training mode on one picture, to the bit; and on more, each as if it were alone."""
    network = UNet(levels=6, width=4, dropout=False)
    initialise(network)
    pixels = torch.rand(3, 3, 64, 64) * 2 - 1
    shown = per_picture(network).eval()
    alone = torch.cat([network(picture[None]) for picture in pixels])
    assert torch.equal(torch.cat([shown(picture[None]) for picture in pixels]), alone)
    assert torch.allclose(shown(pixels), alone, atol=1e-6)
    assert not torch.allclose(network(pixels), alone, atol=1e-2)


def test_a_twin_has_the_weights_and_modes_of_its_own() -> None:
    """What is learned shows in a twin at once; that it evaluates leaves the network training, and its statistics."""
    network = UNet(levels=3, width=4)
    before = {name: buffer.clone() for name, buffer in network.named_buffers()}
    twins = (twin(network).eval(), per_picture(network).eval())
    for made in twins:
        made(torch.rand(2, 3, 8, 8))
    assert network.training
    assert all(torch.equal(buffer, before[name]) for name, buffer in network.named_buffers())
    nn.init.zeros_(next(network.parameters()))
    assert all(not next(made.parameters()).any() for made in twins)


def test_official_initialisation_draws_narrow_weights() -> None:
    """Convolutions have a deviation of 0.02 around 0, batch norms' scales around 1, and every bias is 0."""
    network = UNet(levels=6, width=16)
    initialise(network)
    drawn = {name: parameter.detach() for name, parameter in network.named_parameters()}
    scales = torch.cat([p for name, p in drawn.items() if p.dim() == 1 and name.endswith("weight")])
    convolutions = torch.cat([p.flatten() for p in drawn.values() if p.dim() == 4])
    assert (float(scales.mean()), float(scales.std())) == pytest.approx((1, 0.02), abs=0.005)
    assert (float(convolutions.mean()), float(convolutions.std())) == pytest.approx((0, 0.02), abs=0.001)
    assert all(not p.any() for name, p in drawn.items() if name.endswith("bias"))


def test_clipped_weights_lie_within_the_bound() -> None:
    """Every weight ends up within the bound, and those that were there stay."""
    network = nn.Linear(2, 1, bias=False)
    network.weight.data = torch.tensor([[-3.0, 0.005]])
    clip_weights(network, 0.01)
    assert network.weight.tolist() == [pytest.approx([-0.01, 0.005])]


@pytest.mark.parametrize(
    "network",
    [ResNet(width=8, blocks=6), UNet(levels=7, width=8), PatchDiscriminator(width=8), PixelDiscriminator(width=8)],
    ids=["resnet", "unet", "patch", "pixel"],
)
def test_every_parameter_receives_a_gradient(network: nn.Module) -> None:
    """Backward reaches every parameter with finite numbers."""
    network.zero_grad()
    network(torch.rand(2, 3, 128, 128)).square().mean().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in network.parameters())


def test_critic_sizes_that_do_not_halve_evenly_are_refused() -> None:
    """A critic whose layers don't divide the picture says so."""
    with pytest.raises(ValueError, match="take fewer critic layers"):
        Critic(2, size=96, layers=6)


def test_critic_scores_patches_and_classifies() -> None:
    """At 128 px the published critic gives 2 x 2 patch scores and a logit for each label."""
    score, logits = Critic(5, width=8)(torch.rand(3, 3, 128, 128))
    assert (score.shape, logits.shape) == ((3, 1, 2, 2), (3, 5))
