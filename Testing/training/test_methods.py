"""What defines each method DropGen is compared with, on the step it changes."""

from typing import get_args

import numpy as np
import pytest
import torch
from monai.losses import DiceCELoss
from torch.nn import functional as F

from dropiris.networks import UNet, build_network
from dropiris.train import dropgen_config
from dropiris.train.dropgen_config import DropGenConfig
from dropiris.train.methods import ABLATIONS, METHODS, build_method, cutout, dsbn, gin, gin_ipa, mixstyle, mixup, rsc
from dropiris.train.segmentation_loss import as_shares, segmentation_loss

CLASSES = 3


def config(method="erm", **more):
    settings = {"window": (32, 32, 32), "base_width": 4, "downsamplings": 3, "batch_size": 4, "precision": "32-true"}
    return DropGenConfig(data=["x"], method=method, **{**settings, **more})


@pytest.fixture
def batch():
    generator = torch.Generator().manual_seed(0)
    image = torch.rand(4, 1, 32, 32, 32, generator=generator)
    target = torch.zeros(4, 1, 32, 32, 32, dtype=torch.long)
    target[:, :, 8:20, 8:20, 8:20] = 1
    target[:, :, 20:28, 8:20, 8:20] = 2
    torch.manual_seed(1)
    return image, target


def made(method, channels=1, **more):
    built = build_method(config(method, **more))
    return built, built.network(channels, CLASSES, None)


# --- the seam -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", sorted(METHODS))
def test_every_method_makes_a_step_and_what_inference_builds(name, batch):
    method, network = made(name, probability=1.0)
    image, target = method.batch(*batch)
    logits = method.forward(network.train(), method.views(image), target)
    loss = method.loss(logits, target)
    loss.backward()
    assert torch.isfinite(loss)
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in network.parameters())
    spec, state = method.bundle(network.state_dict())
    in_use = build_network(spec)
    in_use.load_state_dict(state, strict=True)
    assert in_use.eval()(batch[0]).shape == (4, CLASSES, 32, 32, 32)


def test_maskgen_is_another_name_of_dropgen():
    assert config("maskgen").method == "dropgen"


@pytest.mark.parametrize("as_labels", [True, False])
def test_the_loss_is_monais_dice_and_cross_entropy(as_labels):
    logits = torch.randn(2, CLASSES, 8, 8, 8)
    target = torch.randint(0, CLASSES, (2, 1, 8, 8, 8))
    reference = DiceCELoss(softmax=True, to_onehot_y=True, include_background=False, batch=True)
    loss = segmentation_loss(logits, target if as_labels else as_shares(target, CLASSES))
    assert torch.isclose(loss, reference(logits, target), atol=1e-6)


def test_a_balanced_loss_asks_as_much_of_a_small_structure_as_of_a_large_one():
    logits, target = torch.randn(1, 3, 8, 8, 8), torch.zeros(1, 1, 8, 8, 8, dtype=torch.int64)
    target[..., :4], target[..., 0, 0, :2] = 1, 2
    each = torch.nn.functional.cross_entropy(logits, target[:, 0], reduction="none")
    per_class = torch.stack([each[target[:, 0] == number].mean() for number in range(3)]).mean()
    dice = segmentation_loss(logits, target) - each.mean()
    assert torch.isclose(segmentation_loss(logits, target, balance=1.0), dice + per_class, atol=1e-5)
    assert torch.isclose(segmentation_loss(logits, target, pooled=False), segmentation_loss(logits, target))


# --- GIN ------------------------------------------------------------------------------------------------------------


def test_gin_keeps_the_frobenius_norm_and_changes_the_look(batch):
    image = batch[0].expand(-1, 3, -1, -1, -1)
    filtered = gin.random_filtering(image)
    norms = [torch.linalg.vector_norm(x.flatten(1), dim=1) for x in (image, filtered)]
    assert torch.allclose(*norms, rtol=1e-3)
    assert not torch.allclose(image, filtered, atol=0.05)


def test_gin_filters_each_image_with_kernels_of_its_own(batch):
    same = batch[0][:1].expand(4, 3, -1, -1, -1)
    filtered = gin.random_filtering(same)
    assert all(not torch.allclose(filtered[0], other, atol=1e-3) for other in filtered[1:])


def test_gin_moves_nothing_farther_than_its_kernels():
    """Four layers of at most three voxels see four voxels far: anatomy stays where it is."""
    image = torch.zeros(1, 3, 32, 32, 32)
    image[..., 16, 16, 16] = 1
    torch.manual_seed(0)
    far = gin.random_filtering(image)
    torch.manual_seed(0)
    nothing = gin.random_filtering(torch.zeros_like(image) + 1e-20)
    # far from the bright voxel the filtering sees what it sees of an empty image, up to the norm's factor
    ratio = far[..., 4:12, 4:12, 4:12] / nothing[..., 4:12, 4:12, 4:12]
    assert float(ratio.std() / ratio.mean().abs()) < 1e-3


def test_gin_in_use_adds_up_the_kernels_of_three_equal_channels(batch):
    method, network = made("gin")
    _, state = method.bundle(network.state_dict())
    in_use = UNet(1, CLASSES, 4, 3)
    in_use.load_state_dict(state)
    image = batch[0]
    expected = network.eval()(image.expand(-1, 3, -1, -1, -1))
    assert torch.allclose(in_use.eval()(image), expected, atol=1e-4)


# --- GIN + IPA ------------------------------------------------------------------------------------------------------


def test_ipa_blends_two_filterings_so_that_they_swap_places(batch, monkeypatch):
    monkeypatch.setattr(gin_ipa, "random_filtering", _constants(1.0, 2.0, 3.0))
    method, _ = made("gin-ipa")
    views, target = method.batch(*batch)
    first, second, third = views.chunk(3)
    assert views.shape == (12, 3, 32, 32, 32) and target.shape[0] == 4
    assert torch.allclose(first + second, torch.tensor(3.0))  # what one has more of, the other has less of
    assert float(first.min()) < 1.1 and float(first.max()) > 1.9 and bool((third == 3).all())


def _constants(*values):
    left = iter(values)
    return lambda image: torch.full_like(image, next(left))


def test_ipa_maps_are_smooth_and_reach_from_0_to_1():
    torch.manual_seed(0)
    maps = gin_ipa.smooth_maps(2, (48, 32, 64), "cpu")
    assert maps.shape == (2, 1, 48, 32, 64)
    assert torch.equal(maps.amin((1, 2, 3, 4)), torch.zeros(2)) and torch.equal(maps.amax((1, 2, 3, 4)), torch.ones(2))
    assert float(maps.diff(dim=4).abs().max()) < 0.12  # of a range of 1: control points are 16 voxels apart
    assert not torch.allclose(maps[0], maps[1], atol=0.1)


@pytest.mark.parametrize("side", [16, 32, 50])
def test_spline_basis_adds_up_to_one_everywhere(side):
    basis = gin_ipa._spline_basis(side, "cpu")
    assert torch.allclose(basis.sum(dim=1), torch.ones(side), atol=1e-6)


def test_gin_ipa_segments_the_first_view_and_wants_all_to_agree(batch):
    method, _ = made("gin-ipa", consistency=10.0)
    target = batch[1]
    torch.manual_seed(0)
    one = torch.randn(4, CLASSES, 32, 32, 32)
    agreeing = torch.cat([one, one, one])
    plain, _ = made("erm")
    assert torch.isclose(method.loss(agreeing, target), plain.loss(one, target), atol=1e-5)
    odd = torch.cat([one, one, -one])
    expected = plain.loss(one, target) + 10 * gin_ipa.disagreement(odd)
    assert float(gin_ipa.disagreement(odd)) > 0.01 and torch.isclose(method.loss(odd, target), expected, atol=1e-5)


def test_disagreement_is_the_divergence_from_the_mean_prediction():
    logits = torch.randn(3, 2, 4, 4, 4)
    shares = logits.softmax(1)
    mean = shares.mean(0, keepdim=True)
    by_hand = (mean * (mean.log() - shares.log())).mean()
    assert torch.isclose(gin_ipa.disagreement(logits), by_hand, atol=1e-6)


# --- MixUp ----------------------------------------------------------------------------------------------------------


def test_mixup_mixes_images_and_labels_with_the_same_share(batch):
    image, target = batch
    image = torch.stack([torch.full_like(x, i) for i, x in enumerate(image)])
    target = torch.stack([torch.full_like(x, i % CLASSES) for i, x in enumerate(target)])
    method, _ = made("mixup", probability=1.0)
    for seed in range(20):
        torch.manual_seed(seed)
        mixed, shares = method.batch(image, target)
        if not torch.equal(mixed, image):
            break
    assert torch.allclose(shares.sum(1), torch.ones(4, 32, 32, 32))
    torch.manual_seed(seed)
    torch.rand(())
    share = float(torch.distributions.Beta(0.4, 0.4).sample())
    other = torch.randperm(4)
    for i in range(4):
        j = int(other[i])
        assert torch.allclose(mixed[i], torch.tensor(share * i + (1 - share) * j), atol=1e-5)
        mine, others = F.one_hot(torch.tensor([i, j]) % CLASSES, CLASSES)
        assert torch.allclose(shares[i, :, 0, 0, 0], share * mine + (1 - share) * others, atol=1e-5)


def test_mixup_draws_shares_that_are_mostly_near_one_image():
    drawn = torch.distributions.Beta(mixup.BETA, mixup.BETA).sample((4000,))
    assert mixup.BETA == 0.4 and 0.45 < float(((drawn < 0.15) | (drawn > 0.85)).float().mean()) < 0.65


@pytest.mark.parametrize("method", ["mixup", "mixstyle"])
def test_mixing_alone_is_refused(method):
    with pytest.raises(ValueError, match="batch_size of 2 or more"):
        config(method, batch_size=1)


# --- CutOut ---------------------------------------------------------------------------------------------------------


def test_cutout_greys_a_third_of_each_side_in_image_and_label(batch):
    image, target = batch
    target = torch.ones_like(target)
    method, _ = made("cutout", probability=1.0)
    cut, labels = method.batch(image, target)
    for crop, before, label in zip(cut, image, labels, strict=True):
        where = (crop != before).nonzero()
        sides = (where.amax(0) - where.amin(0) + 1)[1:]
        assert sides.tolist() == [round(0.33 * 32)] * 3 and len(where) == round(0.33 * 32) ** 3
        assert bool((crop[tuple(where.T)] == cutout.GREY).all()) and bool((label[tuple(where.T)] == 0).all())
        assert int((label == 0).sum()) == len(where)
    assert bool((target == 1).all())  # what came in is not changed


def test_cutout_cubes_reach_every_corner():
    torch.manual_seed(0)
    starts = np.array([[part.start for part in cutout.random_cube((9, 9, 9))] for _ in range(300)])
    assert starts.min(0).tolist() == [0, 0, 0] and starts.max(0).tolist() == [6, 6, 6]


# --- MixStyle -------------------------------------------------------------------------------------------------------


def test_mixstyle_mixes_statistics_not_content():
    torch.manual_seed(0)
    scale, shift = (torch.tensor(values).view(2, 1, 1, 1, 1) for values in ([1.0, 5.0], [0.0, 9.0]))
    x = torch.randn(2, 3, 8, 8, 8) * scale + shift
    swapped = mixstyle.mix_styles(x, torch.tensor([1, 0]), torch.zeros(2, 1, 1, 1, 1))

    def content(v):
        deviation, mean = torch.std_mean(v, dim=(2, 3, 4), keepdim=True)
        return (v - mean) / deviation

    def style(v):
        return torch.stack(torch.std_mean(v, dim=(2, 3, 4)))

    assert torch.allclose(content(swapped), content(x), atol=1e-4)
    assert torch.allclose(style(swapped), style(x).flip(1), atol=1e-3)  # each has the other's style now
    half = mixstyle.mix_styles(x, torch.tensor([1, 0]), torch.full((2, 1, 1, 1, 1), 0.5))
    assert torch.allclose(style(half)[:, 0], style(half)[:, 1], atol=1e-3)


def test_mixstyle_acts_at_every_encoder_level_in_training_only(batch):
    _, network = made("mixstyle", probability=1.0)
    image = batch[0] * torch.tensor([0.1, 1.0, 3.0, 9.0]).view(4, 1, 1, 1, 1)
    plain = UNet(1, CLASSES, 4, 3)
    plain.load_state_dict(network.state_dict())
    assert torch.equal(network.eval()(image), plain.eval()(image))
    seen = []
    for level in network.skip_from:
        network.model[level].register_forward_hook(lambda layer, inputs, output: seen.append(output))
    without = []
    for level in plain.skip_from:
        plain.model[level].register_forward_hook(lambda layer, inputs, output: without.append(output))
    with torch.no_grad():
        network.train()(image), plain.train()(image)
    assert len(seen) == 3 and all(not torch.allclose(a, b, atol=1e-3) for a, b in zip(seen, without, strict=True))


# --- RSC ------------------------------------------------------------------------------------------------------------


def test_rsc_masks_the_top_fifth_of_each_crops_gradients():
    gradient = torch.randn(2, 5, 4, 4, 4)
    mask = rsc.all_but_dominant(gradient)
    for g, m in zip(gradient, mask, strict=True):
        assert int((m == 0).sum()) == round(0.2 * g.numel())
        assert float(g[m == 0].min()) >= float(g[m == 1].max())


def test_rsc_silences_what_speaks_for_the_right_class(batch):
    image, target = batch
    method, network = made("rsc", probability=1.0)
    network.train()
    logits = method.forward(network, image, target)
    challenged = (logits * as_shares(target, CLASSES)).sum()
    plain = (network(image) * as_shares(target, CLASSES)).sum()
    assert bool(challenged < plain)
    assert method._mask is None and method._bottleneck is not None  # the plain pass after it was not masked


def test_rsc_reads_its_gradients_at_the_deepest_block(batch, monkeypatch):
    image, target = batch
    method, network = made("rsc", probability=1.0)
    shapes, real = [], rsc.all_but_dominant
    monkeypatch.setattr(rsc, "all_but_dominant", lambda g: shapes.append(tuple(g.shape)) or real(g))
    method.forward(network.train(), image, target)
    assert shapes == [(4, 4 * 2**3, 4, 4, 4)]


# --- DSBN -----------------------------------------------------------------------------------------------------------


def test_curves_are_monotonous_and_half_of_them_fall():
    torch.manual_seed(0)
    curves = [dsbn.random_curve() for _ in range(200)]
    rising = [bool((c.diff() >= -1e-6).all()) for c in curves]
    falling = [bool((c.diff() <= 1e-6).all()) for c in curves]
    assert all(a != b for a, b in zip(rising, falling, strict=True)) and 70 < sum(rising) < 130
    assert all(float(c.min()) == 0 and float(c.max()) == 1 for c in curves)


def test_intensities_follow_the_curve():
    image = torch.linspace(0, 1, 27).view(1, 3, 3, 3)
    assert torch.allclose(dsbn.along_curve(image, torch.linspace(0, 1, 1024)), image, atol=1e-6)
    assert torch.allclose(dsbn.along_curve(image, torch.linspace(1, 0, 1024)), 1 - image, atol=1e-6)


def test_a_crop_whose_foreground_darkens_is_of_the_second_domain():
    before = torch.full((3, 1, 4, 4, 4), 0.5)
    foreground = torch.zeros_like(before, dtype=torch.bool)
    foreground[:2, :, :2] = True
    after = before.clone()
    after[0, :, :2], after[0, :, 2:] = 0.6, 0.0  # brighter foreground, darker rest
    after[1, :, :2], after[1, :, 2:] = 0.4, 1.0
    after[2] = 0.4  # no foreground: judged as a whole
    assert dsbn.darker(before, after, foreground).tolist() == [False, True, True]


def test_each_domain_has_its_own_statistics(batch):
    method, network = made("dsbn", probability=0.0)
    image, _ = method.batch(*batch)
    assert torch.equal(image, batch[0]) and network.domains.tolist() == [0, 0, 0, 0]
    norm = network.model[1]
    network.domains = torch.tensor([0, 0, 1, 1])
    before = norm.running_mean.clone()
    network.train()(torch.cat([image[:2], 5 + image[2:]]))
    moved = (norm.running_mean - before).abs().amax(dim=1)
    assert moved[1] > 3 * moved[0] > 0
    network.domains = torch.zeros(4, dtype=torch.long)
    kept = norm.running_mean.clone()
    network(image)
    assert torch.equal(norm.running_mean[1], kept[1]) and not torch.equal(norm.running_mean[0], kept[0])


def test_a_window_takes_the_domain_whose_statistics_are_nearest(batch):
    torch.manual_seed(0)
    _, network = made("dsbn")
    dark, bright = batch[0][:2], 5 + batch[0][:2]
    network.train()
    for _ in range(60):
        network.domains = torch.tensor([0, 0, 1, 1])
        network(torch.cat([dark, bright]))
    network.eval()
    with torch.no_grad():
        together = network(torch.cat([dark[:1], bright[:1]]))
        first, _ = network._in(torch.tensor([0]), dark[:1])
        second, _ = network._in(torch.tensor([1]), bright[:1])
        wrong, _ = network._in(torch.tensor([0]), bright[:1])
    assert torch.allclose(together, torch.cat([first, second]), atol=1e-3)
    assert not torch.allclose(second, wrong, atol=1e-2)


def test_domains_are_asked_for_in_training():
    _, network = made("dsbn")
    with pytest.raises(ValueError, match="set domains"):
        network.train()(torch.zeros(1, 1, 32, 32, 32))


def test_ablations_and_methods_are_all_named_in_the_settings():
    assert set(get_args(dropgen_config.MethodName)) == set(METHODS)
    assert set(get_args(dropgen_config.Ablation)) == set(ABLATIONS)


def test_the_image_of_dropgen_can_start_stronger_than_its_features():
    def first(gain, method="dropgen", ablation=None):
        torch.manual_seed(0)
        config = DropGenConfig(data=["x"], method=method, ablation=ablation, image_gain=gain, base_width=4)
        return build_method(config).network(5, 3, None).state_dict()["model.0.weight"]

    then, now = first(1), first(16)
    assert torch.equal(now[:, 0], 16 * then[:, 0]) and torch.equal(now[:, 1:], then[:, 1:])
    for other in ({"method": "erm"}, {"ablation": "representations-only"}, {"ablation": "no-dropout"}):
        assert torch.equal(first(16, **other), first(1, **other))
