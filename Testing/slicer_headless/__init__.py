"""The real MRML scene of the slicer-core wheel, booted without the desktop application, for tests and the demo.

Nothing of MRML is replaced. What the wheel lacks because it belongs to the application (``slicer.mrmlScene``,
``slicer.app``, module logics, module base classes, parameter nodes, Qt) is supplied here, as small as our modules
allow. It shows that our Python works on real nodes; it shows nothing of the desktop application's own widgets.
"""

from slicer_headless.module_bases import install_module_bases
from slicer_headless.scene import boot_scene

__all__ = ["boot_scene", "install_module_bases", "start"]


def start():
    """Boot the scene and the module base classes once per process; return the ``slicer`` package."""
    slicer = boot_scene()
    install_module_bases(slicer)
    return slicer
