"""Minimal ``slicer.ScriptedLoadableModule``, ``slicer.i18n`` and ``slicer.parameterNodeWrapper``.

With a Slicer source checkout at hand (environment variable SLICER_SOURCE) Slicer's own classes are used instead:
the whole of Testing/modules, wiring tests included, then runs on them.
"""

from __future__ import annotations

import os
import sys
import types
import unittest
from pathlib import Path

from slicer_headless import parameter_node


def slicer_sources():
    """Folder of Slicer's own Python package, or None without a checkout."""
    root = os.environ.get("SLICER_SOURCE")
    folder = Path(root) / "Base" / "Python" / "slicer" if root else None
    return folder if folder is not None and folder.is_dir() else None


def install_module_bases(slicer):
    """Make the three modules importable; Slicer's own where SLICER_SOURCE points to a checkout."""
    if "slicer.ScriptedLoadableModule" in sys.modules:
        return
    _install_without_gui(slicer)
    sources = slicer_sources()
    if sources is not None:
        slicer.__path__.append(str(sources))
        slicer.util.settingsValue = lambda key, default, converter=None, settings=None: default
        import slicer.parameterNodeWrapper
        import slicer.ScriptedLoadableModule

        return
    bases = types.ModuleType("slicer.ScriptedLoadableModule")
    bases.__all__ = []
    for base in _bases(slicer):
        setattr(bases, base.__name__, base)
        bases.__all__.append(base.__name__)
    translation = types.ModuleType("slicer.i18n")
    translation.tr = lambda text: text
    translation.translate = lambda context, text: text
    wrapper = types.ModuleType("slicer.parameterNodeWrapper")
    wrapper.parameterNodeWrapper = parameter_node.parameterNodeWrapper
    for module in (bases, translation, wrapper):
        sys.modules[module.__name__] = module
        setattr(slicer, module.__name__.rpartition(".")[2], module)


def _install_without_gui(slicer):
    """``qt`` and ``ctk`` that can be imported but not used, unless a stand-in is there already."""

    class NoGui(types.ModuleType):
        def __getattr__(self, name):
            if name.startswith("__"):
                raise AttributeError(name)

            def refuse(_self, *args, **kwargs):
                raise RuntimeError(f"{self.__name__}.{name} is used where there is no GUI")

            return type(name, (), {"__init__": refuse})

    for name in ("qt", "ctk"):
        sys.modules.setdefault(name, NoGui(name))
    if not hasattr(slicer, "qMRMLNodeComboBox"):
        for name in ("qMRMLNodeComboBox", "qMRMLSliderWidget", "qMRMLSpinBox", "qMRMLRangeWidget", "qMRMLWidget"):
            setattr(slicer, name, type(name, (), {}))


def _bases(slicer):
    class ScriptedLoadableModule:
        def __init__(self, parent):
            self.parent = parent
            self.moduleName = type(self).__name__

        def resourcePath(self, name):
            return str(Path(self.parent.path).parent / "Resources" / name)

    class ScriptedLoadableModuleWidget:
        def __init__(self, parent=None):
            self.moduleName = type(self).__name__.removesuffix("Widget")
            self.parent = parent
            self.layout = parent.layout()
            self.developerMode = False

        def resourcePath(self, name):
            return str(Path(getattr(slicer.modules, self.moduleName.lower()).path).parent / "Resources" / name)

        def setup(self):
            pass

        def cleanup(self):
            pass

    class ScriptedLoadableModuleLogic:
        def __init__(self, parent=None):
            self.moduleName = type(self).__name__.removesuffix("Logic")

        def getParameterNode(self):
            node = slicer.mrmlScene.GetSingletonNode(self.moduleName, "vtkMRMLScriptedModuleNode")
            if node is None:
                node = slicer.vtkMRMLScriptedModuleNode()
                node.SetSingletonTag(self.moduleName)
                node.SetName(self.moduleName)
                node = slicer.mrmlScene.AddNode(node)
            node.SetAttribute("ModuleName", self.moduleName)
            return node

    class ScriptedLoadableModuleTest(unittest.TestCase):
        def __init__(self, *args, **kwargs):
            super().__init__(*(args or ("runTest",)), **kwargs)

        def delayDisplay(self, message, *_):
            print(message)

        def runTest(self):
            raise NotImplementedError

    return (
        ScriptedLoadableModule,
        ScriptedLoadableModuleWidget,
        ScriptedLoadableModuleLogic,
        ScriptedLoadableModuleTest,
    )
