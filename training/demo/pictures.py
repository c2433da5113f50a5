"""What a reader sees: three planes with outlines, and surfaces rendered off-screen."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from dropiris.geometry import CanonicalGrid
from dropiris.volume import LabelMap, Volume

# Per plane: the axis looked along, then what stands at the left, right, bottom and top edge (canonical RAS grid).
PLANES = (("sagittal", 0, "APIS"), ("coronal", 1, "RLIS"), ("axial", 2, "RLPA"))


def overlay(path: Path, volume: Volume, labels: LabelMap, title: str) -> None:
    """Three planes through the middle of what was found, as a radiologist sees them, with outlines and names."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

    grid = CanonicalGrid.over(volume.shape, volume.affine, None)
    image, found = grid.image_to_model(volume.array), grid.labels_to_model(labels.array)
    at = [
        int(np.median(where)) if len(where) else n // 2 for where, n in zip(np.nonzero(found), found.shape, strict=True)
    ]
    low, high = np.percentile(image, [1, 99.7])
    figure = Figure(figsize=(13, 5), facecolor="black", layout="constrained")
    for column, (name, axis, edges) in enumerate(PLANES):
        axes = figure.add_subplot(1, 3, column + 1)
        plane, outline = (np.take(array, at[axis], axis=axis).T for array in (image, found))
        across, up = [n for n in range(3) if n != axis]
        extent = (0, plane.shape[1] * grid.spacing[across], 0, plane.shape[0] * grid.spacing[up])
        axes.imshow(plane, origin="lower", cmap="gray", vmin=low, vmax=high, extent=extent, interpolation="bilinear")
        for structure in labels.structures:
            mask = np.pad((outline == structure.label).astype(float), 1)
            if mask.any():
                xs = (np.arange(mask.shape[1]) - 0.5) * grid.spacing[across]
                ys = (np.arange(mask.shape[0]) - 0.5) * grid.spacing[up]
                axes.contour(xs, ys, mask, levels=[0.5], colors=[structure.color], linewidths=1.6)
        axes.invert_xaxis()  # the patient's right (or front, in a sagittal plane) at the left, as in Slicer
        _edges(axes, edges)
        axes.set_title(name, color="white", fontsize=11)
        axes.axis("off")
    handles = [Line2D([], [], color=s.color, linewidth=3, label=s.name) for s in labels.structures]
    figure.legend(handles=handles, loc="outside lower center", ncols=4, facecolor="black", labelcolor="white")
    figure.suptitle(title, color="white", fontsize=13)
    FigureCanvasAgg(figure).print_png(path)


def _edges(axes: object, edges: str) -> None:
    from matplotlib.patheffects import withStroke

    places = ((0.04, 0.5), (0.96, 0.5), (0.5, 0.05), (0.5, 0.95))
    look = {
        "color": "yellow",
        "ha": "center",
        "va": "center",
        "path_effects": [withStroke(linewidth=2.5, foreground="black")],
    }
    for letter, (x, y) in zip(edges, places, strict=True):
        axes.text(x, y, letter, transform=axes.transAxes, **look)  # type: ignore[attr-defined]


def surfaces(path: Path, labels: LabelMap) -> str:
    """Render every structure's surface off-screen; returns "" or why there is no picture and what to install."""
    os.environ.setdefault("VTK_DEFAULT_OPENGL_WINDOW", "vtkEGLRenderWindow")
    missing = _missing_egl()
    if missing:
        return missing
    import vtk

    renderer = vtk.vtkRenderer()
    renderer.SetBackground(1, 1, 1)
    grid = CanonicalGrid.over(labels.shape, labels.affine, None)
    array = np.pad(grid.labels_to_model(labels.array), 2)
    for structure in labels.structures:
        mask = array == structure.label
        if mask.any():
            renderer.AddActor(_surface(mask, grid.spacing, structure.color))
    window = vtk.vtkRenderWindow()
    window.SetOffScreenRendering(1)
    window.SetMultiSamples(0)
    window.SetSize(900, 700)
    window.AddRenderer(renderer)
    camera = renderer.GetActiveCamera()
    camera.SetPosition(-0.5, 1.0, 0.35)  # from the front, a little from the patient's left and above
    camera.SetFocalPoint(0, 0, 0)
    camera.SetViewUp(0, 0, 1)
    renderer.ResetCamera()
    camera.Zoom(1.4)
    window.Render()
    picture = vtk.vtkWindowToImageFilter()
    picture.SetInput(window)
    picture.ReadFrontBufferOff()
    writer = vtk.vtkPNGWriter()
    writer.SetFileName(str(path))
    writer.SetInputConnection(picture.GetOutputPort())
    writer.Write()
    return ""


def _missing_egl() -> str:
    """On Linux VTK ends the process when EGL is missing, so look for the library first."""
    import ctypes.util
    import sys

    if sys.platform != "linux" or ctypes.util.find_library("EGL"):
        return ""
    return "no 3D picture: EGL is missing (Debian, Ubuntu: apt-get install libegl1 libegl-mesa0)"


def _surface(mask: np.ndarray, spacing: Sequence[float] | np.ndarray, color: tuple[float, float, float]) -> object:
    """A smoothed surface of a boolean (I, J, K) mask, in mm."""
    import vtk
    from vtk.util.numpy_support import numpy_to_vtk

    image = vtk.vtkImageData()
    image.SetDimensions(*mask.shape)
    image.SetSpacing(*(float(s) for s in spacing))
    image.GetPointData().SetScalars(numpy_to_vtk(mask.astype(np.uint8).ravel(order="F"), deep=True))
    contour = vtk.vtkDiscreteFlyingEdges3D()
    contour.SetInputData(image)
    contour.SetValue(0, 1)
    smooth = vtk.vtkWindowedSincPolyDataFilter()
    smooth.SetInputConnection(contour.GetOutputPort())
    smooth.SetNumberOfIterations(20)
    smooth.SetPassBand(0.05)
    smooth.NonManifoldSmoothingOn()
    smooth.NormalizeCoordinatesOn()
    normals = vtk.vtkPolyDataNormals()
    normals.SetInputConnection(smooth.GetOutputPort())
    normals.SplittingOff()
    mapper = vtk.vtkPolyDataMapper()
    mapper.SetInputConnection(normals.GetOutputPort())
    mapper.ScalarVisibilityOff()
    actor = vtk.vtkActor()
    actor.SetMapper(mapper)
    actor.GetProperty().SetColor(*color)
    actor.GetProperty().SetSpecular(0.2)
    return actor
