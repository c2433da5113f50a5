"""Where models lie on this machine: those that ship with the program, and the user's own."""

from __future__ import annotations

import os
import sys
from pathlib import Path

SHIPPED_VARIABLE = "DROPIRIS_MODELS"
INSTALLED_VARIABLE = "DROPIRIS_USER_MODELS"


def shipped_folder() -> Path:
    """``Resources/Models`` of the extension: an environment variable, or the first one above this file."""
    chosen = os.environ.get(SHIPPED_VARIABLE)
    if chosen:
        return Path(chosen)
    here = Path(__file__).resolve()
    for parent in here.parents:
        if (parent / "Resources" / "Models").is_dir():
            return parent / "Resources" / "Models"
    return here.parent / "shipped"  # a bare pip installation: nothing is shipped


def installed_folder() -> Path:
    """Where the user's own models live on this system."""
    chosen = os.environ.get(INSTALLED_VARIABLE)
    if chosen:
        return Path(chosen)
    if sys.platform == "win32":
        base = Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    elif sys.platform == "darwin":
        base = Path.home() / "Library" / "Application Support"
    else:
        base = Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share")
    return base / "dropiris" / "models"
