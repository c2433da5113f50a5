"""What every training run is told, validated before anything is read."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field


class StructureInfo(BaseModel):
    """How a structure of the dataset is shown: its name, colour and SNOMED CT code."""

    model_config = ConfigDict(extra="forbid")

    name: str
    color: tuple[float, float, float] = (0.5, 0.5, 0.5)
    snomed: tuple[str, str] | None = Field(default=None, description="code and meaning")
    modifier: tuple[str, str] | None = Field(default=None, description="code and meaning of a side")


class RunConfig(BaseModel):
    """Settings all training runs share; each method adds its own in a class of its own."""

    model_config = ConfigDict(extra="forbid", validate_assignment=True)

    data: list[Path] = Field(min_length=1, description="nnU-Net dataset folders")
    name: str = Field(default="model", pattern=r"^[a-z0-9][a-z0-9-]*$", description="name of the bundle")
    version: str = "1.0.0"
    title: str = ""
    card: dict[str, Any] = Field(default_factory=dict, description="description, licence, authors, ... of the card")
    structures: dict[str, StructureInfo] = Field(default_factory=dict, description="by the dataset's own names")
    init_from: Path | None = Field(default=None, description="weights to start from: a bundle, a .safetensors or a .pt")

    max_steps: int = Field(default=1000, ge=1)
    batch_size: int = Field(default=1, ge=1, description="of all processes together")
    optimizer: Literal["adamw", "lamb", "muon"] = "adamw"
    learning_rate: float = Field(default=5e-4, gt=0)
    weight_decay: float = Field(default=1e-4, ge=0)
    warmup_steps: int = Field(default=50, ge=0)
    ema: float = Field(default=0.99, ge=0, lt=1, description="averaging of the weights that are kept; 0 keeps the last")
    window: tuple[int, int, int] = (64, 64, 64)
    seed: int = Field(default=0, ge=0)

    checkpoint_every: int = Field(default=100, ge=1)
    validate_every: int = Field(default=0, ge=0, description="steps between validations; 0 only at the end")
    validation_cases: int = Field(default=0, ge=0, description="validation cases per dataset; 0 takes all")
    patience: int = Field(default=0, ge=0, description="validations without a better score before stopping; 0 never")
    log_every: int = Field(default=25, ge=1, description="steps between lines of the log")
    loggers: list[Literal["tensorboard", "wandb", "mlflow"]] = Field(
        default_factory=list, description="beside TensorBoard, which is always written"
    )

    workers: int | None = Field(
        default=None,
        ge=0,
        description="processes that prepare data; 0: in the loop; absent: by the machine",
    )
    cache: Path | bool = Field(
        default=True, description="folder of preprocessed volumes; true: the user's, false: none"
    )
    memory_gb: float = Field(default=2.0, gt=0, description="what a step may take when the window is planned")
    accelerator: str = "auto"
    devices: int | None = Field(default=None, ge=1, description="per machine; as torchrun or SLURM say, else 1")
    num_nodes: int | None = Field(default=None, ge=1, description="machines; as torchrun or SLURM say, else 1")
    strategy: Literal["auto", "ddp", "ddp_find_unused_parameters_true", "fsdp"] = "auto"
    precision: Literal["bf16-mixed", "16-mixed", "32-true"] = "bf16-mixed"
