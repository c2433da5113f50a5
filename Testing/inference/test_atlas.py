"""A labelled reference is found again in a moved, bent, differently bright scan; what is unlike it is not believed."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from scipy import ndimage

from dropiris.errors import Cancelled, InputError
from dropiris.geometry import CanonicalGrid
from dropiris.inference.aligned_atlas import AlignedAtlas
from dropiris.inference.aligned_check import MovedBack, moved_back
from dropiris.inference.aligning import align_all, evenly
from dropiris.inference.atlas import Atlas
from dropiris.inference.described import Described
from dropiris.inference.devices import choose_device
from dropiris.inference.places import Places
from dropiris.inference.preparation import prepare
from dropiris.inference.reference_windows import SeenReference, load_reference, save_reference
from dropiris.inference.registration import best_shift
from dropiris.intensity import IntensityRule
from dropiris.progress import CancelToken
from dropiris.volume import LabelMap, Reference, Structure, Volume

RULE = IntensityRule(scale="zscore")


def body(shape=(48, 56, 52), shift=(0.0, 0.0, 0.0), size=1.0, invert=False, spacing=3.0) -> tuple[Volume, np.ndarray]:
    """A head with things in it, 3 mm voxels; moved by ``shift`` in voxels, as large as ``size``."""
    middle = (np.array(shape)[:, None, None, None] - 1) / 2 + np.array(shift)[:, None, None, None]
    place = (np.indices(shape) - middle) / size
    image, labels = np.zeros(shape), np.zeros(shape, np.uint8)

    def ball(centre, radii):
        away = (place - np.array(centre)[:, None, None, None]) / np.array(radii)[:, None, None, None]
        return (away**2).sum(0) < 1

    for centre, radii, value, label in (
        ((0, 0, 0), (17, 21, 19), 0.5, 0),
        ((-6, 4, 2), (5, 7, 4), 0.9, 1),
        ((7, -5, -3), (4, 4, 8), 0.2, 2),
        ((0, 10, 8), (3, 3, 3), 0.8, 0),
        ((3, -12, 6), (4, 3, 5), 0.35, 0),
    ):
        inside = ball(centre, radii)
        image[inside] = value
        if label:
            labels[inside] = label
    # texture: nothing in a body is without it
    image[image > 0] += (0.1 * np.sin(1.1 * place[0]) * np.sin(0.9 * place[1]) * np.sin(1.3 * place[2]))[image > 0]
    if invert:
        image = np.where(image > 0, 1.1 - image, 0)
    image = ndimage.gaussian_filter(image, 0.6) + np.random.default_rng(1).normal(scale=0.01, size=shape)
    return Volume(image.astype(np.float32), np.diag([spacing, spacing, spacing, 1.0]), "body"), labels


def reference(**how) -> Reference:
    volume, labels = body(**how)
    structures = (Structure(1, "liver"), Structure(2, "spleen"))
    return Reference(volume, (LabelMap(labels, volume.affine, structures),))


def found_in(atlas: Atlas, scan: Volume) -> tuple[AlignedAtlas, np.ndarray]:
    """The alignment, and labels (I, J, K) it gives the scan."""
    aligned = atlas.align(scan, RULE, "cpu", lambda: None)
    assert aligned is not None
    grid = CanonicalGrid.over(scan.shape, scan.affine, None)
    masks = aligned.masks(atlas.names, float(grid.spacing.mean()))
    share = aligned.places(masks, grid.shape, grid.spacing.tolist(), (0, 0, 0))
    labels = torch.cat([1 - share.sum(0, keepdim=True), share]).argmax(0).numpy().astype(np.uint8)
    return aligned, grid.labels_to_source(labels)


def dice(a: np.ndarray, b: np.ndarray) -> float:
    return 2 * float((a & b).sum()) / max(1, int(a.sum() + b.sum()))


@pytest.mark.parametrize(
    "how",
    [{"shift": (4, -5, 3)}, {"shape": (70, 60, 90), "shift": (-8, 2, 16)}, {"size": 1.25}],
    ids=["moved", "a larger scan", "larger"],
)
def test_structures_are_found_again(how):
    atlas = Atlas.of(reference(), RULE)
    scan, truth = body(**how)
    aligned, labels = found_in(atlas, scan)
    assert aligned.likeness > 0.5
    assert dice(labels == 1, truth == 1) > 0.85
    assert dice(labels == 2, truth == 2) > 0.85


def test_another_contrast_is_found_roughly():
    """Dark for bright. Borders are missed, which is why what the network sees is weighed beside it."""
    aligned, labels = found_in(Atlas.of(reference(), RULE), body(invert=True)[0])
    truth = body()[1]
    assert aligned.likeness > 0.5
    assert dice(labels == 1, truth == 1) > 0.6
    assert dice(labels == 2, truth == 2) > 0.8


@pytest.mark.parametrize("order", [(1, 2, 0), (2, 0, 1)])
def test_the_order_and_direction_of_voxels_do_not_count(order):
    """The same head with axes turned and one flipped: labels lie on the same tissue."""
    atlas = Atlas.of(reference(), RULE)
    scan, truth = body(shift=(3, 0, -4))
    turn = np.eye(4)[:, [*order, 3]]
    flip = np.diag([-1.0, 1, 1, 1])
    array = scan.array.transpose(order)[::-1]
    flip[0, 3] = array.shape[0] - 1
    turned = Volume(np.ascontiguousarray(array), scan.affine @ turn @ flip, "turned")
    _, labels = found_in(atlas, turned)
    assert dice(labels == 1, truth.transpose(order)[::-1] == 1) > 0.85


def test_all_shifts_are_compared():
    one, _ = body(shift=(0, 0, 0))
    other, _ = body(shift=(7, -6, 5))
    spacing, corner = torch.full((3,), 3.0), torch.zeros(3)
    a, b = (Described.of(torch.from_numpy(scan.array), spacing, corner) for scan in (one, other))
    assert best_shift(a, b).tolist() == pytest.approx([-21, 18, -15], abs=3.1)


def test_noise_is_not_believed():
    atlas = Atlas.of(reference(), RULE)
    noise = np.random.default_rng(0).normal(size=(48, 56, 52)).astype(np.float32)
    aligned = atlas.align(Volume(noise, np.diag([3.0, 3, 3, 1]), "noise"), RULE, "cpu", lambda: None)
    assert aligned is None or aligned.likeness < 0.3


def test_it_stops_when_asked():
    token = CancelToken()
    token.cancel()
    with pytest.raises(Cancelled):
        align_all([Atlas.of(reference(), RULE)], body()[0], RULE, choose_device("cpu"), lambda _: None, token, 0.3)


def test_too_little_memory_on_a_graphics_card_is_no_end(monkeypatch):
    devices, said = [], []

    def align(atlas, scan, rule, device, step):
        devices.append(device)
        if device != "cpu":
            raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(Atlas, "align", align)
    monkeypatch.setattr("dropiris.inference.aligning.free_cache", lambda device: None)
    atlas, device = Atlas.of(reference(), RULE), replace(choose_device("cpu"), torch_device="cuda:0")
    align_all([atlas, atlas], body()[0], RULE, device, said.append, None, 0.3)
    assert devices == ["cuda:0", "cpu", "cpu"]
    assert any("Not enough memory" in step.message for step in said)


def test_a_file_holds_it(tmp_path):
    atlas = Atlas.of(reference(), RULE)
    path = save_reference(SeenReference([], {"liver": 0.9}, atlas), tmp_path / "seen.safetensors")
    again = load_reference(path).atlas
    assert again is not None and again.names == atlas.names
    for name, tensor in atlas.tensors().items():
        assert torch.equal(tensor, again.tensors()[name])
    assert load_reference(save_reference(SeenReference([], {}), tmp_path / "none.safetensors")).atlas is None


def test_windows_know_where_things_are_and_what_no_reference_has():
    """Two windows of a padded image see one field; a structure that no reference has lies nowhere."""
    scan, truth = body()
    aligned = Atlas.of(reference(), RULE).align(scan, RULE, "cpu", lambda: None)
    grid, image = prepare(scan, RULE, (3.0,) * 3)
    places = Places([aligned], ["spleen", "pancreas", "liver"], grid, image, [2, 0, 0], (32, 56, 52))
    first, second = places((0, 0, 0)), places((20, 0, 0))
    assert torch.equal(first.share[:, 20:], second.share[:, :12])
    assert torch.equal(first.odds[:, 20:], second.odds[:, :12])
    assert first.believed.tolist() == [1, 0, 1]
    assert not first.share[1].any() and (first.odds[1] < -4).all()
    assert dice(first.share[2, 2:].numpy() > 0.5, truth[:30] == 1) > 0.85
    assert dice(first.odds[2, 2:].numpy() > 0, truth[:30] == 1) > 0.9  # the scan itself shows the border


def test_a_structure_smaller_than_voxels_of_the_alignment_is_whole(monkeypatch):
    """As in a reference of the whole body: they are almost three times as large as those that are segmented."""
    monkeypatch.setattr("dropiris.inference.atlas.FINE", 3000)
    scan, _ = body()
    aligned = Atlas.of(reference(), RULE).align(scan, RULE, "cpu", lambda: None)
    assert float(aligned.near.spacing.mean()) > 5
    still = replace(aligned, affine=lambda places: places, field=torch.zeros_like(aligned.field))
    grid, image = prepare(scan, RULE, (2.0,) * 3)
    found = Places([still], ["spleen"], grid, image, [0, 0, 0], grid.shape)((0, 0, 0)).share[0]
    every = still.places(still.masks(["spleen"], 2.0), grid.shape, grid.spacing.tolist(), (0, 0, 0))[0]
    assert torch.equal(found > 0.5, every > 0.5) and bool((found > 0.5).any())


def test_an_empty_reference_is_refused():
    empty = reference()
    labels = replace(empty.layers[0], array=np.zeros_like(empty.layers[0].array))
    with pytest.raises(InputError, match="No structure of body is drawn"):
        Atlas.of(Reference(empty.volume, (labels,)), RULE)


def test_a_small_structure_in_a_large_scan_takes_no_gigabytes(monkeypatch):
    """Its fine voxels are for its surroundings; where they do not fit into memory they get larger."""
    monkeypatch.setattr("dropiris.inference.scan_views.MOST_VOXELS", 20_000)
    atlas = Atlas.of(reference(), RULE)
    assert float(atlas.spacing.min()) > 5 and float(atlas.near.spacing.min()) > 5
    scan, truth = body(shift=(3, -2, 2))
    _, labels = found_in(atlas, scan)
    assert dice(labels == 1, truth == 1) > 0.6


def test_few_of_many_are_aligned():
    assert evenly(range(2)) == [0, 1]
    assert evenly(range(9)) == [0, 3, 6]


def back_on(labels: np.ndarray, scan: Volume) -> dict[str, MovedBack]:
    """What the alignment says of a result, by the reference."""
    own = (LabelMap(labels, scan.affine, (Structure(1, "liver"), Structure(2, "spleen"))),)
    known = SimpleNamespace(known=lambda tokens: torch.zeros(1, 2))
    segmenter = SimpleNamespace(
        atlas=lambda result: Atlas.of(result, RULE), scorer=SimpleNamespace(iris=known), device=choose_device("cpu")
    )
    task = SimpleNamespace(tokens=np.zeros((2, 1, 1), np.float32), names=("liver", "spleen"))
    atlas = Atlas.of(reference(), RULE)
    return moved_back(segmenter, Reference(scan, own), task, [atlas], lambda _: None, None, "Checking")


def test_a_true_result_comes_back_and_a_wrong_one_does_not():
    scan, truth = body(shift=(4, -5, 3))
    back = back_on(truth, scan)
    assert min(back["liver"].dice, back["spleen"].dice) > 0.8
    assert min(back["liver"].counts, back["spleen"].counts) > 0.9  # the decoder knows neither
    exchanged = back_on(np.choose(truth, [0, 2, 1]).astype(np.uint8), scan)
    assert max(exchanged["liver"].dice, exchanged["spleen"].dice) < 0.2


def test_what_the_scan_does_not_show_does_not_count():
    """The scan ends in the middle of the liver: half of it there, and half of the reference's, is a whole match."""
    scan, truth = body()
    half = Volume(np.ascontiguousarray(scan.array[:, :, 27:]), scan.affine.copy(), "half")
    half.affine[2, 3] = 27 * 3.0
    back = back_on(np.ascontiguousarray(truth[:, :, 27:]), half)
    assert back["liver"].dice > 0.75


def test_the_way_back_counts_where_the_decoder_does_not():
    assert MovedBack(0.8, 0.0).beside(0.3) == 0.3
    assert MovedBack(0.8, 1.0).beside(0.3) == 0.8
    assert MovedBack(0.8, 0.5).beside(0.3) == pytest.approx(0.55)
