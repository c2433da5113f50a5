"""Windows cover everything once blended, cost nothing over air, stop when asked and survive too little memory."""

import numpy as np
import pytest
import torch
from torch import nn

from dropiris.errors import Cancelled, DeviceError, InputError
from dropiris.inference.blending import window_weights
from dropiris.inference.decisions import largest_channel, largest_positive
from dropiris.inference.foreground import Foreground, find_foreground
from dropiris.inference.rolling_scores import RollingScores, SameLabels
from dropiris.inference.sliding_window import Windows, pad_to_window, segment_windows
from dropiris.inference.window_grid import window_starts
from dropiris.progress import CancelToken


class Convolution:
    """A scorer whose scores depend on the neighbourhood, so that windows disagree at their borders."""

    def __init__(self, channels: int = 3, torch_device: str = "cpu"):
        torch.manual_seed(0)
        self.network = nn.Conv3d(1, channels, 5, padding=2)
        self.channels, self.torch_device, self.calls, self.largest = channels, torch_device, 0, 0

    @torch.inference_mode()
    def __call__(self, windows: torch.Tensor) -> torch.Tensor:
        self.calls += 1
        self.largest = max(self.largest, len(windows))
        return self.network(windows)

    def to_cpu(self) -> None:
        self.torch_device = "cpu"


def noise(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).normal(size=shape).astype(np.float32)


def run(image: np.ndarray, scorer, windows: Windows, decide=largest_channel, foreground=None, **options) -> np.ndarray:
    return segment_windows(image, scorer, decide, windows, foreground or Foreground.everything(image.shape), **options)


@pytest.mark.parametrize("blending", ["gaussian", "constant"])
@pytest.mark.parametrize("overlap", [0.25, 0.5])
@pytest.mark.parametrize("shape", [(40, 23, 31), (19, 50, 17), (16, 16, 37)])
def test_labels_are_those_of_monai(shape, overlap, blending):
    from monai.inferers import sliding_window_inference

    image, scorer = noise(*shape), Convolution()
    ours = run(image, scorer, Windows((16, 16, 16), overlap, blending, batch=2))
    with torch.inference_mode():
        scores = sliding_window_inference(
            torch.from_numpy(image)[None, None], 16, 2, scorer.network, overlap, mode=blending
        )[0]
    theirs = scores.argmax(0).numpy()
    top = scores.topk(2, dim=0).values
    close = (top[0] - top[1]).numpy() < 1e-4  # equal within rounding: either label is right
    assert (ours == theirs)[~close].all()
    assert close.mean() < 0.01


def test_a_volume_of_one_window_is_a_single_pass():
    image, scorer = noise(16, 16, 16), Convolution()
    labels = run(image, scorer, Windows((16, 16, 16)))
    assert scorer.calls == 1
    expected = scorer(torch.from_numpy(image)[None, None])[0].argmax(0).numpy()
    assert (labels == expected).all()


def test_a_small_volume_grows_to_a_window_by_its_edge_and_is_cut_back():
    image = noise(5, 20, 16)
    padded, inside = pad_to_window(image, (16, 16, 16))
    assert padded.shape == (16, 20, 16)
    assert (padded[inside] == image).all()
    assert (padded[0] == image[0]).all() and (padded[-1] == image[-1]).all()


@pytest.mark.parametrize(("side", "window", "overlap"), [(16, 16, 0.5), (17, 16, 0.5), (100, 16, 0.25), (33, 16, 0.0)])
def test_windows_leave_no_voxel_out_and_stay_inside(side, window, overlap):
    starts = window_starts(side, window, overlap)
    covered = np.zeros(side, int)
    for start in starts:
        covered[start : start + window] += 1
    assert covered.min() >= 1 and max(starts) + window == side and starts == sorted(set(starts))


def test_only_a_slab_of_scores_is_held():
    labels = np.zeros((200, 20, 20), np.uint8)
    slab = RollingScores(4, labels.shape, 16, 0, SameLabels(labels, 0, largest_channel), "cpu")
    assert slab.scores.numel() == 4 * 16 * 20 * 20


def test_a_large_slab_is_kept_in_half_precision(monkeypatch):
    monkeypatch.setattr("dropiris.inference.rolling_scores.HALF_ABOVE", 1000)
    image = noise(40, 24, 24)
    full, half = Convolution(), Convolution()
    monkeypatch.setattr("dropiris.inference.rolling_scores.HALF_ABOVE", 10**12)
    exact = run(image, full, Windows((16, 16, 16)))
    monkeypatch.setattr("dropiris.inference.rolling_scores.HALF_ABOVE", 1000)
    assert (run(image, half, Windows((16, 16, 16))) == exact).mean() > 0.995


def test_more_than_255_classes_need_wider_labels():
    class Many(Convolution):
        def __call__(self, windows):
            return torch.nn.functional.one_hot(windows[:, 0].long(), 301).permute(0, 4, 1, 2, 3).float()

    image = np.full((16, 16, 16), 300, np.float32)
    labels = run(image, Many(301), Windows((16, 16, 16)))
    assert labels.dtype == np.uint16 and (labels == 300).all()


def test_windows_of_air_alone_are_skipped_and_nothing_of_the_body_is_cut():
    image = np.zeros((192, 96, 96), np.float32)
    image[8:24, 20:40, 20:40] = 1.0
    image[150:154, 50:54, 8:12] = 0.2  # a small separate part
    scorer = Convolution(2)
    scorer.network = nn.Conv3d(1, 2, 1)
    with torch.no_grad():
        scorer.network.weight[:] = torch.tensor([0.0, 1.0]).reshape(2, 1, 1, 1, 1)
        scorer.network.bias[:] = torch.tensor([0.0, -0.1])
    labels = run(image, scorer, Windows((16, 16, 16)), foreground=find_foreground(image))
    assert (labels == (image > 0.1)).all()
    everything = len(window_starts(192, 16, 0.5)) * len(window_starts(96, 16, 0.5)) ** 2
    assert scorer.calls < everything / 2


@pytest.mark.parametrize("seed", range(4))
def test_the_foreground_holds_every_voxel_that_is_not_air(seed):
    rng = np.random.default_rng(seed)
    image = np.clip(rng.normal(0.0, 0.01, (70, 61, 53)), 0, 1).astype(np.float32)
    low = rng.integers(0, 30, 3)
    body = tuple(slice(a, a + 20) for a in low)
    image[body] += rng.uniform(0.2, 1.0)
    image[tuple(slice(a + 6, a + 14) for a in low)] = 0.0  # a cavity
    found = find_foreground(image)
    for part, box in zip(body, found.box, strict=True):
        assert box.start <= part.start and part.stop <= box.stop
    blocks = np.repeat(np.repeat(np.repeat(found.blocks, 4, 0), 4, 1), 4, 2)[:70, :61, :53]
    assert blocks[body].all()
    assert blocks.mean() < 0.8


def test_an_image_without_air_is_all_foreground():
    image = np.random.default_rng(0).uniform(0.5, 1.0, (30, 30, 30)).astype(np.float32)
    image[0, 0, 0] = 0.0
    assert find_foreground(image).blocks.all()


def test_bright_surroundings_are_not_taken_for_air():
    image = np.ones((40, 40, 40), np.float32)
    image[10:30, 10:30, 10:30] = 0.0
    assert find_foreground(image).blocks.all()


def test_cancel_stops_within_one_window():
    token = CancelToken()
    scorer = Convolution()

    def watch(progress):
        if progress.tile == 3:
            token.cancel()

    with pytest.raises(Cancelled):
        run(noise(64, 32, 32), scorer, Windows((16, 16, 16)), progress=watch, cancel=token)
    assert scorer.calls == 3


def test_progress_counts_every_window_once():
    seen = []
    run(noise(40, 24, 16), Convolution(), Windows((16, 16, 16), batch=3), progress=seen.append, share=(0.2, 0.6))
    assert seen[-1].tile == seen[-1].tiles == 4 * 2 * 1
    assert seen[-1].fraction == pytest.approx(0.6)
    assert [p.tile for p in seen] == sorted(p.tile for p in seen)


class TooSmall(Convolution):
    """Runs out of memory as a small GPU does; "cpu:0" stands for it, so that it can be tried everywhere."""

    def __init__(self, fails):
        super().__init__(torch_device="cpu:0")
        self.fails = fails

    def __call__(self, windows):
        if self.fails(self, windows):
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB")
        return super().__call__(windows)


def test_too_little_memory_for_a_batch_goes_on_one_by_one_and_says_so():
    image, seen = noise(40, 24, 24), []
    expected = run(image, Convolution(), Windows((16, 16, 16)))
    scorer = TooSmall(lambda s, w: len(w) > 1)
    assert (run(image, scorer, Windows((16, 16, 16), batch=4), progress=seen.append) == expected).all()
    assert scorer.largest == 1 and scorer.torch_device == "cpu:0"
    assert [p.message for p in seen if p.message] == [
        "Not enough memory on cpu:0 for several windows at a time; going on one by one."
    ]


def test_too_little_memory_in_the_middle_steps_down_to_the_processor():
    image, seen = noise(64, 24, 24), []
    expected = run(image, Convolution(), Windows((16, 16, 16)))
    scorer = TooSmall(lambda s, w: s.torch_device != "cpu" and s.calls >= 5)
    assert (run(image, scorer, Windows((16, 16, 16), batch=2), progress=seen.append) == expected).all()
    messages = [p.message for p in seen if p.message]
    assert len(messages) == 3 and "one by one" in messages[0]
    assert "computer's memory" in messages[1] and "processor" in messages[2]


def test_too_little_memory_everywhere_is_one_sentence():
    with pytest.raises(DeviceError, match="memory is too small for the model"):
        run(noise(16, 16, 16), TooSmall(lambda s, w: True), Windows((16, 16, 16)))


def test_other_failures_are_not_taken_for_too_little_memory():
    class Broken(Convolution):
        def __call__(self, windows):
            raise RuntimeError("expected scalar type Half but found Float")

    with pytest.raises(RuntimeError, match="scalar type"):
        run(noise(16, 16, 16), Broken(), Windows((16, 16, 16)))


def test_a_sigmoid_decides_background_where_no_class_is_likely():
    scores = torch.tensor([[1.0, -1.0, 2.0], [0.5, -2.0, 3.0]])
    assert largest_positive(scores).tolist() == [1, 0, 2]


def test_weights_are_largest_in_the_middle_and_never_zero():
    weights = window_weights((16, 32, 8))
    assert weights.shape == (16, 32, 8)
    assert weights.min() >= 1e-3 and weights.argmax() in torch.where(weights.flatten() == weights.max())[0]
    assert torch.equal(weights, weights.flip(0, 1, 2))
    assert (window_weights((4, 4, 4), "constant") == 1).all()


def test_an_unknown_blending_or_overlap_is_refused_in_one_sentence():
    with pytest.raises(InputError, match="choose gaussian or constant"):
        window_weights((8, 8, 8), "soft")
    with pytest.raises(InputError, match="overlap is 1"):
        Windows((8, 8, 8), overlap=1.0)
