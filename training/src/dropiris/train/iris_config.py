"""What a training run of Iris is told."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from dropiris.train.config import RunConfig


class IrisConfig(RunConfig):
    """Iris: episodes across datasets."""

    weights: list[float] | None = Field(default=None, description="how often each dataset is drawn; equal when absent")
    shapes: float = Field(default=0.0, ge=0, lt=1, description="share of episodes made of random shapes")
    extractor: str = Field(
        default="none",
        description="stable Iris: features beside the image: MIND-SSC, a bundle of features, anatomix weights, ...",
    )
    extractor_layer: Literal["penultimate", "final"] = "penultimate"
    dropout: float = Field(
        default=0.5, ge=0, lt=1, description="stable Iris: probability of dropping each channel, image included"
    )
    left_out: list[str] = Field(
        default_factory=list, description="patterns of structures that are shown, but never asked for"
    )
    unions: dict[str, list[str]] = Field(
        default_factory=dict, description="patterns of structures that are asked for as one as well, such as both sides"
    )
    base_width: int = 16
    task_channels: int = 64
    queries: int = 10
    downsamplings: int = Field(default=4, ge=3, le=4, description="of the encoder; three fifths of it are the fourth")
    similarity: bool = True
    closed_form: bool = Field(
        default=False, description="a structure's look by ridge regression on image and features, see iris_closed_form"
    )
    frozen: list[str] = Field(
        default_factory=list, description="parts of the network that are not trained: encoder, task_encoder, ..."
    )
    sequences: float = Field(
        default=0.0, ge=0, le=1, description="share of rendered heads that look like T1, T2, FLAIR or CT"
    )
    schedule: Literal["cosine", "exponential"] = Field(default="cosine", description="after the warm-up")
    memory: float = Field(
        default=0.999, ge=0, lt=1, description="momentum of the memory bank of training classes; 0 keeps none"
    )
    max_classes: int = Field(default=4, ge=1)
    negatives: float = Field(default=0.15, ge=0, le=1, description="share of query windows placed anywhere")
    wander: float = Field(default=0.25, ge=0, le=0.5, description="how far off centre, in windows, a query may lie")
    rotation: float = Field(default=0.17, ge=0, description="about each axis, radians; 10 degrees in the supplement")
    scaling: float = Field(default=0.1, ge=0, description="of each axis, log scale; 0.9 to 1.1 in the supplement")
    mirror: float = Field(default=0.05, ge=0, le=1, description="probability that both windows are mirrored left-right")
    intensity_probability: float = Field(default=0.33, ge=0, le=1, description="of each intensity augmentation")
    intensity_strength: float = Field(default=1.0, ge=0)
    bend: float = Field(default=0.1, ge=0, le=0.3, description="of rendered label maps, see dropiris.data.synthesis")
    invert: float = Field(default=0.1, ge=0, le=1, description="share of episodes with inverted intensities")
    remap: float = Field(default=0.0, ge=0, le=1, description="share of windows whose intensities a random curve maps")
    rendered: float = Field(
        default=0.0,
        ge=0,
        le=1,
        description="share of windows with an image that are rendered from their labels instead",
    )
    clusters: int = Field(
        default=8,
        ge=1,
        le=64,
        description="parts of like intensity in what is not labelled, where windows are rendered",
    )
    stripped: float = Field(default=0.0, ge=0, le=1, description="share of rendered heads without what is not brain")
    contrast_change: float = Field(default=0.3, ge=0, le=1, description="rendered episodes whose contrasts differ")

    @property
    def is_stable(self) -> bool:
        """Whether stable features stand beside the image."""
        return self.extractor != "none"

    @model_validator(mode="after")
    def _weights_fit(self) -> IrisConfig:
        if self.weights is not None and len(self.weights) != len(self.data):
            raise ValueError(f"{len(self.weights)} weights are given for {len(self.data)} datasets; give one for each")
        if self.weights is not None and (min(self.weights) < 0 or sum(self.weights) <= 0):
            raise ValueError("weights must not be negative, and at least one must be positive")
        return self

    @model_validator(mode="after")
    def _window_fits(self) -> IrisConfig:
        if any(side % 16 or side < 32 for side in self.window):
            raise ValueError(f"window {self.window} must have sides that are multiples of 16, at least 32")
        # On processors oneDNN (torch 2.13) returns garbage for the weight gradient of a bfloat16 convolution whose
        # first axis has two voxels, which is what the deepest level makes of 32.
        if self.window[0] < 48 and self.precision == "bf16-mixed":
            raise ValueError("the window's first side must be at least 48 with bf16-mixed; use precision=32-true")
        return self
