"""What the pretraining of a stable extractor is told."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field, field_validator, model_validator

from dropiris.train.config import RunConfig

LEVELS = (16, 8, 4, 2, 1, 0)


class ExtractorConfig(RunConfig):
    """anatomix: contrastive pretraining on rendered label maps. Defaults are the authors' where a processor allows."""

    data: list[Path] = Field(
        default_factory=list, description="datasets whose label maps give shapes; none: random shapes alone"
    )
    learning_rate: float = Field(default=2e-4, gt=0)
    weight_decay: float = Field(default=1e-5, ge=0)
    levels: list[int] = Field(
        default=[8, 4, 2, 1, 0], min_length=1, description="decoder strides that are compared; 1 penultimate, 0 output"
    )
    voxels: int = Field(default=512, ge=8, description="sampled per pair and level")
    balanced: bool = Field(default=True, description="sample every label about equally often")
    temperature: float = Field(default=0.33, gt=0)
    projection: int = Field(default=256, ge=8, description="width of the projections, which are thrown away")
    naming: float = Field(
        default=0.0,
        ge=0,
        le=1,
        description="share of the loss that names structures; 0: contrastive alone, as anatomix",
    )
    named_voxels: int = Field(default=2048, ge=8, description="sampled per pair and level to be named")
    outlining: float = Field(
        default=0.0, ge=0, description="weight of a segmentation loss over every voxel: what gives features their edges"
    )
    windows: float = Field(default=0.3, ge=0, le=1, description="share of label maps that are windows of whole scans")
    shapes: tuple[int, int] = Field(default=(12, 40), description="shapes of an ensemble, from and to")
    templates: float = Field(default=0.6, ge=0, le=1, description="share of shapes taken from label maps")
    weights: dict[str, float] = Field(
        default_factory=dict, description="how often each dataset's maps are shown, by name; every map alike when empty"
    )
    without: list[str] = Field(default_factory=list, description="cases kept for the probe")
    clusters: int = Field(
        default=0, ge=0, le=32, description="parts that unlabelled surroundings are cut into where there is an image"
    )
    stripped: float = Field(default=0.0, ge=0, le=1, description="share of heads that are rendered as brains alone")
    rotation: float = Field(default=0.6, ge=0, description="of a window about each axis, radians")
    upright: bool = Field(
        default=False, description="mirror left and right only: scans in use come in canonical orientation"
    )
    centring: float | None = Field(
        default=None, ge=0, le=1, description="windows about named structures, pulled to the middle by this share"
    )
    random_share: float = Field(
        default=1.0, ge=0, le=1, description="brains in random contrast; the others look like T1, T2, FLAIR or CT"
    )
    finest: float = Field(default=1.0, ge=1, description="smallest voxel of a window, in voxels of its map")
    coarsest: float = Field(default=3.0, ge=1, description="largest voxel of a window, in voxels of its map")
    synthesis: Literal["workers", "device"] = Field(
        default="workers", description="where images are made; the device is faster when it is a GPU with few cores"
    )
    validation_pairs: int = Field(default=6, ge=1, description="unseen pairs the linear probe looks at")
    extractor_layer: Literal["penultimate", "final"] = Field(default="penultimate", description="that the probe reads")

    @field_validator("levels")
    @classmethod
    def _known(cls, levels: list[int]) -> list[int]:
        if len(set(levels)) != len(levels) or not set(levels) <= set(LEVELS):
            raise ValueError(f"levels must be some of {', '.join(map(str, LEVELS))}, each once")
        return levels

    @model_validator(mode="after")
    def _window_fits(self) -> ExtractorConfig:
        if any(side % 16 or side < 32 for side in self.window):
            raise ValueError(f"window {self.window} must have sides that are multiples of 16, at least 32")
        # see IrisConfig: wrong gradients of bfloat16 convolutions with two voxels along their first axis
        if self.window[0] < 48 and self.precision == "bf16-mixed":
            raise ValueError("the window's first side must be at least 48 with bf16-mixed; use precision=32-true")
        return self
