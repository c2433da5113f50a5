"""What a training run is told, validated before anything is read."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator


class StructureInfo(BaseModel):
    """How a structure of the dataset is shown: its name, colour and SNOMED CT code."""

    model_config = ConfigDict(extra="forbid")

    name: str
    color: tuple[float, float, float] = (0.5, 0.5, 0.5)
    snomed: tuple[str, str] | None = Field(default=None, description="code and meaning")
    modifier: tuple[str, str] | None = Field(default=None, description="code and meaning of a side")


class RunConfig(BaseModel):
    """Settings both methods share."""

    model_config = ConfigDict(extra="forbid", validate_assignment=True)

    data: list[Path] = Field(min_length=1, description="nnU-Net dataset folders")
    name: str = Field(default="model", pattern=r"^[a-z0-9][a-z0-9-]*$", description="name of the bundle")
    version: str = "1.0.0"
    title: str = ""
    card: dict[str, Any] = Field(default_factory=dict, description="description, licence, authors, ... of the card")
    structures: dict[str, StructureInfo] = Field(default_factory=dict, description="by the dataset's own names")
    max_steps: int = Field(default=1000, ge=1)
    batch_size: int = Field(default=1, ge=1)
    learning_rate: float = Field(default=5e-4, gt=0)
    weight_decay: float = Field(default=1e-4, ge=0)
    warmup_steps: int = Field(default=50, ge=0)
    ema: float = Field(default=0.99, ge=0, lt=1, description="averaging of the weights that are kept; 0 keeps the last")
    window: tuple[int, int, int] = (64, 64, 64)
    seed: int = 0
    workers: int = Field(default=0, ge=0, description="processes that prepare data; 0 prepares in the loop")
    checkpoint_every: int = Field(default=100, ge=1)
    validate_every: int = Field(default=0, ge=0, description="steps between validations; 0 only at the end")
    validation_cases: int = Field(default=0, ge=0, description="validation cases per dataset; 0 takes all")
    accelerator: str = "auto"
    precision: Literal["bf16-mixed", "16-mixed", "32-true"] = "bf16-mixed"


class IrisConfig(RunConfig):
    """Iris: episodes across datasets."""

    weights: list[float] | None = Field(default=None, description="how often each dataset is drawn; equal when absent")
    in_channels: int = 1
    base_width: int = 16
    task_channels: int = 64
    queries: int = 10
    similarity: bool = True
    max_classes: int = Field(default=4, ge=1)
    negatives: float = Field(default=0.15, ge=0, le=1, description="share of query windows placed anywhere")
    wander: float = Field(default=0.25, ge=0, le=0.5, description="how far off centre, in windows, a query may lie")
    rotation: float = Field(default=0.17, ge=0, description="about each axis, radians; 10 degrees in the supplement")
    scaling: float = Field(default=0.1, ge=0, description="of each axis, log scale; 0.9 to 1.1 in the supplement")
    mirror: float = Field(default=0.05, ge=0, le=1, description="probability that both windows are mirrored left-right")
    intensity_probability: float = Field(default=0.33, ge=0, le=1, description="of each intensity augmentation")
    intensity_strength: float = Field(default=1.0, ge=0)
    contrast_change: float = Field(default=0.3, ge=0, le=1, description="rendered episodes whose contrasts differ")

    @model_validator(mode="after")
    def _window_fits(self) -> IrisConfig:
        if any(side % 16 or side < 32 for side in self.window):
            raise ValueError(f"window {self.window} must have sides that are multiples of 16, at least 32")
        # On processors oneDNN (torch 2.13) returns garbage for the weight gradient of a bfloat16 convolution whose
        # first axis has two voxels, which is what the deepest level makes of 32.
        if self.window[0] < 48 and self.precision == "bf16-mixed":
            raise ValueError("the window's first side must be at least 48 with bf16-mixed; use precision=32-true")
        return self


class DropGenConfig(RunConfig):
    """DropGen: one dataset, channel dropout on [image, stable features]."""

    method: Literal["dropgen", "erm"] = "dropgen"
    dropout: float = Field(default=0.5, ge=0, lt=1, description="probability p of dropping each channel")
    extractor: str = Field(default="MIND-SSC", description="MIND-SSC, or a file of anatomix weights")
    extractor_layer: Literal["penultimate", "final"] = "penultimate"
    spacing: tuple[float, float, float] = (1.0, 1.0, 1.0)
    base_width: int = 16
    downsamplings: int = 4
    mirror: bool = Field(default=False, description="mirror left-right; only where no structure has a side")
    ct_window: tuple[float, float] | None = (-990.0, 500.0)

    @model_validator(mode="after")
    def _window_fits(self) -> DropGenConfig:
        multiple = 2**self.downsamplings
        if any(side % multiple or side < 2 * multiple for side in self.window):
            raise ValueError(
                f"window {self.window} must have sides that are multiples of {multiple}, at least twice that"
            )
        return self
