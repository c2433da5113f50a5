"""What a training run of DropGen, of a method it is compared with, or of an ablation is told."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, field_validator, model_validator

from dropiris.data.selection import Selection
from dropiris.intensity import PERCENTILES
from dropiris.train.config import RunConfig

MethodName = Literal["dropgen", "erm", "gin", "gin-ipa", "mixup", "cutout", "dsbn", "mixstyle", "rsc"]
Ablation = Literal[
    "representations-only", "no-dropout", "dropout-every-layer", "structured-dropout", "squeeze-excite",
    "finetune-decoder", "finetune-all",
]  # fmt: skip
# Of each method, the setting that the paper tuned on validation data, at the middle of its sweep (Tables 10 and 11).
# GIN has none and is applied to every image, as in its authors' code.
PROBABILITY = 0.5
# Need another crop in the batch to mix with.
_MIXING = ("mixup", "mixstyle")
_FINETUNED = ("finetune-decoder", "finetune-all")


class DropGenConfig(RunConfig):
    """One dataset; the image beside stable features, channels dropped; or a method it is compared with."""

    method: MethodName = Field(default="dropgen", description="also called maskgen")
    ablation: Ablation | None = Field(default=None, description="one change to DropGen (Fig. 4, Tables 6, 8 and 9)")
    dropout: float = Field(default=0.5, ge=0, lt=1, description="probability p of dropping each channel")
    probability: float | dict[MethodName, float] = Field(
        default=PROBABILITY, description="of mixup, cutout, dsbn, mixstyle or rsc at a step or crop; or one for each"
    )
    consistency: float = Field(default=10.0, ge=0, description="weight of gin-ipa's divergence between its three views")
    extractor: str = Field(
        default="MIND-SSC",
        description="MIND-SSC; a bundle of features; anatomix weights; nnInteractive:FOLDER; package.module:function",
    )
    extractor_layer: Literal["penultimate", "final"] = "penultimate"
    image_gain: float = Field(
        default=1.0, gt=0, description="of dropgen: how strong the image starts beside its features"
    )
    balance: float = Field(
        default=0.0, ge=0, le=1, description="how much more a voxel of a small structure weighs in cross-entropy"
    )
    spacing: tuple[float, float, float] = (1.0, 1.0, 1.0)
    base_width: int = 16
    downsamplings: int = 4
    foreground: float = Field(
        default=0.75, ge=0, le=1, description="share of crops centred on a structure; 0 crops anywhere, as the paper"
    )
    centring: float = Field(
        default=0,
        ge=0,
        le=1,
        description="how far such crops are pulled to the middle of all structures; 1 all the way",
    )
    mirror: bool = Field(default=False, description="mirror left-right; only where no structure has a side")
    flips_and_turns: bool = Field(
        default=False, description="the paper's flips of a random axis and 90 degree turns (C.1); as mirror, and more"
    )
    ct_window: tuple[float, float] | None = (-990.0, 500.0)
    percentiles: tuple[float, float] = Field(default=PERCENTILES, description="of what is not CT; the paper: 0 and 100")
    merge: dict[str, list[str]] = Field(
        default_factory=dict, description="structures made of several of the dataset's; what is in none is background"
    )
    contrast: Literal["random", "mixed", "T1", "T2", "FLAIR", "CT"] = Field(
        default="random",
        description="label maps without images: how they are rendered; mixed: some at random, the rest as the others",
    )
    random_share: float = Field(default=0.5, ge=0, le=1, description="how many of mixed contrasts are random")
    stripped: float = Field(default=0.35, ge=0, le=1, description="share of rendered heads shown as brains alone")
    training: Selection = Selection(split="Tr")
    validation: Selection = Selection(split="Val")
    test: Selection | None = Field(default=None, description="scored once, with the finished model")

    @field_validator("method", mode="before")
    @classmethod
    def _alias(cls, value: object) -> object:
        return "dropgen" if value == "maskgen" else value

    @field_validator("probability")
    @classmethod
    def _probable(cls, value: float | dict[MethodName, float]) -> float | dict[MethodName, float]:
        if not all(0 <= p <= 1 for p in (value.values() if isinstance(value, dict) else [value])):
            raise ValueError("a probability lies from 0 to 1")
        return value

    @model_validator(mode="after")
    def _window_fits(self) -> DropGenConfig:
        multiple = 2**self.downsamplings
        if any(side % multiple or side < 2 * multiple for side in self.window):
            raise ValueError(
                f"window {self.window} must have sides that are multiples of {multiple}, at least twice that"
            )
        return self

    @model_validator(mode="after")
    def _method_fits(self) -> DropGenConfig:
        alone = self.ablation == "dropout-every-layer" and self.method == "erm"
        if self.ablation and self.method != "dropgen" and not alone:
            raise ValueError(f"ablation {self.ablation} changes dropgen; leave method={self.method} out")
        if self.method in _MIXING and self.batch_size < 2:
            raise ValueError(f"{self.method} mixes crops of a batch; give a batch_size of 2 or more")
        if self.ablation in _FINETUNED and self.extractor == "MIND-SSC":
            raise ValueError("MIND-SSC has no weights to fine-tune; give a file of anatomix weights as extractor")
        return self

    @property
    def method_probability(self) -> float:
        """Of this run's method."""
        several = self.probability
        return several.get(self.method, PROBABILITY) if isinstance(several, dict) else several

    @property
    def uses_extractor(self) -> bool:
        return self.method == "dropgen"

    @property
    def uses_features(self) -> bool:
        """Whether stable features stand beside the image; a fine-tuned extractor is the predictor itself."""
        return self.uses_extractor and self.ablation not in _FINETUNED
