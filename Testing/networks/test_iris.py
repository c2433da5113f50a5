"""What Iris promises about its classes, its references and its equations."""

import pytest
import torch
from torch.nn import functional as F

from dropiris.networks import MINDSSC, Iris
from dropiris.networks.iris_task_encoder import mask_share, masked_mean, pixel_shuffle, pixel_unshuffle


@pytest.fixture(scope="module")
def iris() -> Iris:
    torch.manual_seed(0)
    return Iris(base_width=4, task_channels=64, queries=3).eval()


@pytest.fixture(scope="module")
def episode() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    query, reference = torch.randn(2, 1, 1, 32, 32, 32, generator=generator)
    masks = torch.zeros(1, 3, 32, 32, 32)
    masks[:, 0, 4:12, 4:12, 4:12] = 1
    masks[:, 1, 16:30, 8:20, 10:22] = 1
    masks[:, 2, 20:24, 24:28, 2:30] = 1
    return query, reference, masks


@torch.inference_mode()
def test_permuting_the_classes_permutes_the_masks_and_changes_nothing_else(iris, episode):
    query, reference, masks = episode
    order = [2, 0, 1]
    logits = iris(query, reference, masks)
    torch.testing.assert_close(iris(query, reference, masks[:, order]), logits[:, order], atol=1e-4, rtol=1e-4)


@torch.inference_mode()
def test_task_embeddings_of_several_classes_are_those_of_single_ones(iris, episode):
    _, reference, masks = episode
    features = iris.encode_image(reference)
    together = iris.encode_task(features, masks)
    assert together.shape == (1, 3, iris.tokens, 64)
    for k in range(3):
        torch.testing.assert_close(together[:, k : k + 1], iris.encode_task(features, masks[:, k : k + 1]))


@torch.inference_mode()
def test_one_pass_equals_single_passes_up_to_what_the_query_reads_from_other_classes(iris, episode):
    # The image attends to the tokens of all classes (Sec. 3.3), so logits are not equal. Taken out of the image's
    # side, they are: tokens never attend to each other.
    query, reference, masks = episode
    features, task = iris.encode_image(query), iris.encode_task(iris.encode_image(reference), masks)
    together = iris.decode(features, task)
    single = torch.cat([iris.decode(features, task[:, k : k + 1]) for k in range(3)], dim=1)
    assert not torch.equal(together, single)
    saved = [block.forward for block in iris.decoder.to_image]
    try:
        for block in iris.decoder.to_image:
            block.forward = lambda x, source: x
        together = iris.decode(features, task)
        single = torch.cat([iris.decode(features, task[:, k : k + 1]) for k in range(3)], dim=1)
    finally:
        for block, forward in zip(iris.decoder.to_image, saved, strict=True):
            block.forward = forward
    torch.testing.assert_close(together, single, atol=1e-4, rtol=1e-4)


@torch.inference_mode()
def test_a_class_given_twice_is_segmented_twice_alike(iris, episode):
    query, reference, masks = episode
    logits = iris(query, reference, masks[:, [0, 0, 1]])
    torch.testing.assert_close(logits[:, 0], logits[:, 1])


@torch.inference_mode()
def test_a_task_does_not_grow_with_the_number_of_references(iris, episode):
    query, reference, masks = episode
    features = iris.encode_image(query)
    tasks = [iris.encode_task(iris.encode_image(reference + 0.1 * n), masks) for n in range(5)]
    averaged = torch.stack(tasks).mean(0)
    assert averaged.shape == tasks[0].shape
    assert iris.decode(features, averaged).shape == (1, 3, 32, 32, 32)


def test_masked_mean_is_the_literal_pool_of_upsampled_features():
    features = torch.randn(2, 8, 4, 4, 4, generator=torch.Generator().manual_seed(0))
    masks = (torch.rand(2, 3, 16, 16, 16, generator=torch.Generator().manual_seed(1)) > 0.7).float()
    upsampled = F.interpolate(features, scale_factor=4, mode="nearest")
    literal = torch.stack(
        [
            (upsampled * masks[:, k : k + 1]).sum((2, 3, 4)) / masks[:, k : k + 1].sum((2, 3, 4))
            for k in range(masks.shape[1])
        ],
        dim=1,
    )
    torch.testing.assert_close(masked_mean(features, mask_share(masks)), literal, atol=1e-5, rtol=1e-5)


def test_an_empty_mask_gives_a_finite_embedding(iris):
    with torch.inference_mode():
        task = iris.encode_task(iris.encode_image(torch.randn(1, 1, 32, 32, 32)), torch.zeros(1, 1, 32, 32, 32))
    assert torch.isfinite(task).all()


def test_pixel_unshuffle_undoes_pixel_shuffle():
    x = torch.randn(1, 128, 2, 3, 4)
    assert torch.equal(pixel_unshuffle(pixel_shuffle(x, 4), 4), x)


def test_the_network_without_its_prior_still_reads_the_same_task():
    plain = Iris(base_width=4, task_channels=64, queries=3, similarity=False).eval()
    with torch.inference_mode():
        logits = plain(*torch.randn(2, 1, 1, 32, 32, 32), torch.ones(1, 2, 32, 32, 32))
    assert logits.shape == (1, 2, 32, 32, 32)


@pytest.mark.parametrize(("gain", "offset"), [(3.0, 0.2), (-1.0, 1.0)])
@torch.inference_mode()
def test_mind_does_not_change_with_linear_contrast(gain, offset):
    image = torch.rand(1, 1, 16, 16, 16, generator=torch.Generator().manual_seed(0))
    extractor = MINDSSC()
    descriptor = extractor(image)
    assert descriptor.shape == (1, 12, 16, 16, 16)
    torch.testing.assert_close(extractor(gain * image + offset), descriptor, atol=1e-3, rtol=1e-3)
