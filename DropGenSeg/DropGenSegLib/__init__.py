"""Parameters and Logic of the module; importing it makes the package dropiris importable."""

import importlib.util
import sys
from pathlib import Path

# Installed, dropiris lies beside the modules; in a source checkout it is under training/src.
if importlib.util.find_spec("dropiris") is None:
    sys.path.append(str(Path(__file__).resolve().parents[2] / "training" / "src"))
