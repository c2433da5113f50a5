"""Pictures of both panels in every stage, of the first-run window and of the samples; run it with ``make screenshots``.

Everything but Slicer's own widgets is real: the scene, the .ui files, the shipped models, the worker. Those widgets
are PySide6 stand-ins, so the pictures show what stands where, not the style of Slicer.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from PIL import Image
from sample_pictures import write_thumbnails
from scene import ROOT

WIDTH = 430
MOST_BYTES = 60_000
SETS = ("dropgen", "iris", "first-run", "samples")


@contextmanager
def session(folder: Path) -> Iterator[tuple[Any, Callable[[str], Any], Any]]:
    """The booted ``slicer``, what opens a panel by module name, and the worker's client; all closed at the end."""
    sys.path[:0] = [str(ROOT / "Testing"), str(ROOT / "DropGenSeg"), str(ROOT / "IrisICL")]
    os.environ["DROPIRIS_USER_MODELS"] = str(folder / "models")
    from slicer_headless import boot_scene, install_module_bases, panel_session
    from slicer_headless.qt_standin import install_qt

    from dropiris.models.catalogue import Catalogue
    from dropiris.worker.client import WorkerClient

    slicer = boot_scene()
    install_qt(slicer)
    install_module_bases(slicer)
    opened: list[Any] = []
    with WorkerClient() as client:

        def open_panel(name: str) -> Any:
            widget = getattr(__import__(name), f"{name}Widget")
            opened.append(panel_session.open_panel(slicer, widget, client, Catalogue()))
            return opened[-1]

        yield slicer, open_panel, client
        for panel in opened:
            panel_session.close_panel(panel)


class Photographer:
    """Saves a panel as it stands."""

    def __init__(self, slicer: Any, folder: Path) -> None:
        self.slicer, self.folder = slicer, folder
        self.written: list[Path] = []

    def panel(self, panel: Any, stage: str) -> None:
        from slicer_headless import panel_session

        with TemporaryDirectory() as folder:
            raw = Path(folder) / "panel.png"
            assert panel_session.picture(self.slicer, panel, raw, WIDTH), "Qt could not save the picture"
            # The finished panel is the one the README and the Extensions Manager show.
            self._save(Image.open(raw), panel.moduleName if stage == "done" else f"{panel.moduleName}-{stage}")

    def window(self, window: Any, name: str) -> None:
        from PySide6 import QtCore

        for _ in range(3):  # word-wrapped labels settle their height in a second pass
            self.slicer.app.processEvents()
            # Not adjustSize(), which stops at two thirds of the screen and lets the last rows overlap.
            window.resize(window.sizeHint())
        data = QtCore.QBuffer()
        data.open(QtCore.QIODevice.OpenModeFlag.WriteOnly)
        window.grab().save(data, "PNG")
        self._save(Image.open(BytesIO(bytes(data.data()))), name)

    def _save(self, image: Image.Image, name: str) -> None:
        path = self.folder / f"{name}.png"
        for colours in (255, 128, 64, 32):
            # Coverage, not frequency: the few pixels of a segment's colour must keep it.
            image.convert("RGB").quantize(colours, Image.Quantize.MAXCOVERAGE).save(path, optimize=True)
            if path.stat().st_size <= MOST_BYTES:
                break
        self.written.append(path)


def dropgen(open_panel: Callable[[str], Any], photo: Photographer) -> None:
    """DropGenSeg from an empty scene to a result."""
    from dropiris.panels.sample_data import load_sample
    from dropiris.phantom import Grid, phantom

    slicer, panel = photo.slicer, open_panel("DropGenSeg")
    _until(slicer, lambda: not panel.device.probe.asking)
    photo.panel(panel, "disabled")
    # Wide enough for several windows: something to see while it runs.
    wide = phantom("head", "A", "T1", Grid.box((0.0, -18.0, -15.0), (52.0, 44.0, 34.0), (0.8, 0.8, 0.8))).volume
    panel.parameters.inputVolume = slicer.util.addVolumeFromArray(wide.array.T, wide.affine, "Phantom head A, T1, crop")
    panel.parameters.model = "hippocampus-t1"
    _running(panel, photo, tile=3)
    panel.ui.cancelButton.click()
    _until(slicer, lambda: panel.bar.run is None)
    broken = wide.array.astype(np.float32)
    broken[4, 4, 4] = np.nan
    panel.parameters.inputVolume = slicer.util.addVolumeFromArray(broken.T, wide.affine, "T1, damaged file")
    panel.ui.segmentButton.click()
    _until(slicer, lambda: panel.bar.run is None)
    photo.panel(panel, "failed")
    slicer.mrmlScene.Clear(0)
    panel.useSample(load_sample("hippocampus"))
    _until(slicer, lambda: False, 0.3)
    photo.panel(panel, "idle")
    _segmented(panel, photo)
    panel.exit()
    slicer.mrmlScene.Clear(0)


def iris(open_panel: Callable[[str], Any], client: Any, photo: Photographer) -> None:
    """IrisICL from an empty scene to a result; the worker is killed once, to see what the panel says."""
    slicer, panel = photo.slicer, open_panel("IrisICL")
    _until(slicer, lambda: not panel.device.probe.asking)
    photo.panel(panel, "disabled")
    panel.ui.sampleButton.click()
    _until(slicer, lambda: False, 0.3)
    photo.panel(panel, "idle")
    _running(panel, photo, tile=2)
    os.kill(client.pid, getattr(signal, "SIGKILL", signal.SIGTERM))
    _until(slicer, lambda: panel.bar.run is None)
    photo.panel(panel, "failed")
    panel.ui.segmentButton.click()
    _until(slicer, lambda: panel.bar.run is None and not panel.results.table.measuring)
    photo.panel(panel, "done")
    panel.exit()
    slicer.mrmlScene.Clear(0)


def first_run(photo: Photographer) -> None:
    """The window that lists what is missing, as on a Linux computer without a graphics card."""
    from slicer_headless.first_run import LINUX, Python, Settings

    from dropiris.panels.installation import Installation
    from dropiris.panels.installation_dialogue import InstallationDialogue

    python = Python()
    folder = "/home/user/Slicer-5.12/lib/Python/lib/python3.12/site-packages"
    dialogue = InstallationDialogue(Installation(python, Settings(), python.version, folder, LINUX), lambda: None)
    dialogue.show()
    dialogue.ui.offlineCollapsibleButton.collapsed = False
    photo.window(dialogue.window, "first-run")
    dialogue.window.close()


def _running(panel: Any, photo: Photographer, tile: int) -> None:
    panel.ui.segmentButton.click()
    _until(photo.slicer, lambda: f"tile {tile}/" in panel.ui.statusLabel.text or panel.bar.run is None)
    if panel.bar.run is None:
        raise RuntimeError(f"the run was over before its window {tile}: {panel.ui.statusLabel.text}")
    photo.panel(panel, "running")


def _segmented(panel: Any, photo: Photographer) -> None:
    panel.ui.segmentButton.click()
    _until(photo.slicer, lambda: panel.bar.run is None and not panel.results.table.measuring)
    photo.panel(panel, "done")


def _until(slicer: Any, condition: Callable[[], bool], seconds: float = 300.0) -> None:
    """Let the event loop run; a condition that never comes ends the wait quietly where it only was to settle."""
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:
        slicer.app.processEvents()
        time.sleep(0.01)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-o", "--output", type=Path, default=ROOT / "Resources" / "Screenshots")
    parser.add_argument("--samples", type=Path, default=ROOT / "Resources" / "SampleData")
    parser.add_argument("--only", nargs="+", choices=SETS, default=SETS, help="which pictures")
    chosen = parser.parse_args()
    os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
    for folder in (chosen.output, chosen.samples):
        folder.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix="pictures-") as folder, session(Path(folder)) as (slicer, open_panel, client):
        photo = Photographer(slicer, chosen.output)
        takes = {
            "dropgen": lambda: dropgen(open_panel, photo),
            "iris": lambda: iris(open_panel, client, photo),
            "first-run": lambda: first_run(photo),
            "samples": lambda: photo.written.extend(write_thumbnails(chosen.samples)),
        }
        for name in SETS:
            if name in chosen.only:
                takes[name]()
    for path in photo.written:
        print(f"{path.stat().st_size / 1000:6.1f} kB  {path}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
