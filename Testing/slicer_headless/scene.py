"""Boot ``slicer.mrmlScene``, ``slicer.app`` and ``slicer.modules`` over the slicer-core wheel."""

from __future__ import annotations

import sys
import tempfile
import types
from pathlib import Path

# As slicer.modules names them: the logics our modules and slicer.util use.
LOGICS = {
    "colors": ("Colors", "vtkSlicerColorLogic"),
    "volumes": ("Volumes", "vtkSlicerVolumesLogic"),
    "transforms": ("Transforms", "vtkSlicerTransformLogic"),
    "subjecthierarchy": ("SubjectHierarchy", "vtkSlicerSubjectHierarchyModuleLogic"),
    "segmentations": ("Segmentations", "vtkSlicerSegmentationsModuleLogic"),
}
# Without a version, scenes count as written by a legacy Slicer and are converted on loading.
VERSION = "Slicer 5.12.3 34000"


class ModuleHandle:
    """``slicer.modules.<name>``: the logic of a loadable module, or the path of a scripted one."""

    def __init__(self, name, logic=None, path=""):
        self.name, self.path, self._logic = name, str(path), logic

    def logic(self):
        return self._logic


class CoreIOManager:
    """Reads and writes volumes, segmentations and scenes through the same C++ logics as the application."""

    def __init__(self, slicer, application_logic):
        self.slicer, self.application_logic = slicer, application_logic

    def fileType(self, path):
        name = str(path).lower()
        if name.endswith((".mrml", ".mrb")):
            return "SceneFile"
        return "SegmentationFile" if name.endswith((".seg.nrrd", ".seg.nii.gz")) else "VolumeFile"

    def loadNodes(self, filetype, properties, loaded, messages=None):
        path = str(properties["fileName"])
        if filetype == "SceneFile":
            return self._load_scene(path, properties.get("clear", False))
        name = properties.get("name") or Path(path).name.split(".")[0]
        if filetype == "VolumeFile":
            options = 8 + bool(properties.get("labelmap"))  # 8: automatic window and level
            node = self.slicer.modules.volumes.logic().AddArchetypeVolume(path, name, options)
        elif filetype == "SegmentationFile":
            logic = self.slicer.modules.segmentations.logic()
            node = logic.LoadSegmentationFromFile(path, True, name, None, messages)
        else:
            raise NotImplementedError(f"reading {filetype} without the application")
        if node is not None:
            loaded.AddItem(node)
        return node is not None

    def fileWriterFileType(self, node):
        return "AnyNode"

    def saveNodes(self, filetype, properties, messages=None):
        scene, path = self.slicer.mrmlScene, str(properties["fileName"])
        if filetype == "SceneFile":
            scene.SetURL(path)
            scene.SetRootDirectory(str(Path(path).parent))
            return bool(scene.WriteToMRB(path) if path.endswith(".mrb") else scene.Commit(path))
        node = scene.GetNodeByID(properties["nodeID"])
        node.AddDefaultStorageNode(path)
        node.GetStorageNode().SetFileName(path)
        return bool(node.GetStorageNode().WriteData(node))

    def _load_scene(self, path, clear):
        scene = self.slicer.mrmlScene
        if path.endswith(".mrb"):
            return bool(self.application_logic.OpenSlicerDataBundle(path, tempfile.mkdtemp()))
        scene.SetURL(path)
        return bool(scene.Connect() if clear else scene.Import())


class Application:
    """The part of ``slicer.app`` that ``slicer.util`` and our modules call."""

    def __init__(self, slicer, application_logic, home):
        self._slicer, self._logic = slicer, application_logic
        self._io = CoreIOManager(slicer, application_logic)
        self.temporaryPath = self.slicerHome = str(home)
        self.qt_application = None
        self._settings = {}

    def mrmlScene(self):
        return self._slicer.mrmlScene

    def applicationLogic(self):
        return self._logic

    def coreIOManager(self):
        return self._io

    ioManager = coreIOManager

    def testingEnabled(self):
        return True

    def layoutManager(self):
        return None  # as in "Slicer --no-main-window"

    def processEvents(self):
        if self.qt_application is not None:
            self.qt_application.processEvents()

    def moduleManager(self):
        return self

    def translate(self, context, text):
        return text

    def connect(self, *_):
        return True

    disconnect = setOverrideCursor = restoreOverrideCursor = pauseRender = resumeRender = connect

    def settings(self):
        return types.SimpleNamespace(
            contains=self._settings.__contains__, value=self._settings.get, setValue=self._settings.__setitem__
        )

    userSettings = settings


def boot_scene():
    """Boot once per process and return the ``slicer`` package with its scene, application and logics."""
    import slicer
    import vtk

    if getattr(slicer, "mrmlScene", None) is not None:
        return slicer
    output = vtk.vtkOutputWindow()
    output.SetDisplayModeToAlwaysStdErr()  # a VTK error must be seen, not raise a window
    vtk.vtkOutputWindow.SetInstance(output)
    for name in ("modules", "moduleNames"):
        setattr(slicer, name, types.ModuleType(f"slicer.{name}"))
        sys.modules[f"slicer.{name}"] = getattr(slicer, name)

    scene = slicer.vtkMRMLScene()
    scene.SetVersion(VERSION)
    slicer.mrmlScene = scene
    application_logic = slicer.vtkSlicerApplicationLogic()
    folder = tempfile.TemporaryDirectory(prefix="slicer-headless-")
    home = Path(folder.name)
    slicer.app = Application(slicer, application_logic, home)
    slicer.app.folder = folder  # removed when the process ends
    _write_colors(home)
    application_logic.SetTemporaryPath(str(home))
    application_logic.SetHomeDirectory(str(home))
    application_logic.SetShareDirectory("share")
    application_logic.SetMRMLScene(scene)
    application_logic.SetSliceLogics(vtk.vtkCollection())
    application_logic.SetViewLogics(vtk.vtkCollection())
    for name, (registered, logic_class) in LOGICS.items():
        logic = getattr(slicer, logic_class)()
        logic.SetMRMLApplicationLogic(application_logic)
        application_logic.SetModuleLogic(registered, logic)
        logic.SetMRMLScene(scene)
        setattr(slicer.modules, name, ModuleHandle(registered, logic))
        setattr(slicer.moduleNames, registered, registered)
    application_logic.SetColorLogic(slicer.modules.colors.logic())
    slicer.modules.colors.logic().AddDefaultColorNodes()
    return slicer


def _write_colors(home):
    """The generic colour table is a data file of the application; label volumes look for it."""
    (home / "share" / "ColorFiles").mkdir(parents=True)
    rows = [f"{n} {n} {37 * n % 256} {(91 * n + 60) % 256} {(151 * n + 120) % 256} 255" for n in range(1, 256)]
    table = "\n".join(["# Color table file", "0 Background 0 0 0 0", *rows, ""])
    (home / "share" / "ColorFiles" / "GenericColors.txt").write_text(table)
