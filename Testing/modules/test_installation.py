"""First run: nothing happens unasked; what is missing is said, installed step by step, and gone on with later."""

import importlib.util
import subprocess
import sys
import types
from pathlib import Path

import pytest
from slicer_headless.first_run import LINUX, Python, Settings

from dropiris.errors import InputError
from dropiris.panels import installation as module
from dropiris.panels.installation import SETTING, Installation, Outcome
from dropiris.panels.offline_installation import Computer, not_possible, offline_instructions, wheel_names
from dropiris.panels.requirements import REQUIREMENTS, in_words, requirements_missing

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def make(tmp_path):
    settings = Settings()

    def make(python, **more):
        more.setdefault("folder", str(tmp_path))
        more.setdefault("computer", LINUX)
        installation = Installation(python, settings, python.version, **more)
        installation.settings = settings
        return installation

    return make


def test_ranges_are_those_of_the_package():
    project = (ROOT / "training" / "pyproject.toml").read_text(encoding="utf-8")
    pins = (ROOT / "training" / "constraints.txt").read_text(encoding="utf-8").splitlines()
    for requirement in REQUIREMENTS:
        assert f'"{requirement}",' in project
        assert f"{requirement.name}=={requirement.tested}" in pins


def test_what_a_run_imports_is_required_or_comes_with_slicer():
    code = (
        "import sys; before = set(sys.modules);"
        "import dropiris.worker.handlers, dropiris.inference.strategies, dropiris.inference.iris_segmenter,"
        "dropiris.inference.dropgen_segmenter, dropiris.models.bundle;"
        "from dropiris.models.catalogue import Catalogue; Catalogue().find('iris-general').tensors();"
        "print(*sorted({m.split('.')[0] for m in set(sys.modules) - before}))"
    )
    path = str(ROOT / "training" / "src")
    done = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path.insert(0, {path!r}); {code}"], capture_output=True
    )
    loaded = set(done.stdout.decode().split())
    assert {"torch", "safetensors", "numpy"} <= loaded, done.stderr.decode()
    assert not loaded & {"nibabel", "nrrd", "pydicom", "monai", "typer", "rich", "pydantic", "yaml"}


def test_missing_and_old_packages_are_found_without_importing_them():
    python = Python(torch="1.13.1+cu117")
    missing = requirements_missing(version=python.version)
    assert [r.name for r in missing] == ["torch", "safetensors"]
    assert (
        in_words(missing, python.version)
        == "safetensors is not installed; PyTorch 1.13.1+cu117 is too old: click Install."
    )
    assert in_words(requirements_missing(version=Python().version), Python().version) == (
        "PyTorch and safetensors are not installed: click Install."
    )
    assert requirements_missing(version=Python(torch="2.3.0", safetensors="0.4.3").version) == []
    assert in_words([]) == ""
    assert not any(name in sys.modules for name in ("torch",)) or importlib.util.find_spec("torch")


def test_the_plan_says_what_how_large_and_where_and_touches_nothing(make, tmp_path):
    python = Python()
    installation = make(python)
    plan = installation.plan()
    assert [line.split(" — ")[0] for line in plan.lines] == ["torch 2.3 or newer", "safetensors 0.4.3 or newer"]
    assert "through the PyTorch extension" in plan.lines[0] and "GB on disk" in plan.lines[0]
    assert plan.folder == str(tmp_path) and plan.disk > plan.download > 1e8 and plan.problem == ""
    assert python.did == [] and installation.settings == {} and not installation.pending
    without = make(Python(extension=False)).plan()
    assert without.lines[0].startswith("the Slicer extension PyTorch")
    old = make(Python(torch="1.13", safetensors="0.8")).plan()
    assert len(old.lines) == 1 and "now 1.13" in old.lines[0]


def test_one_click_installs_what_is_missing_and_nothing_else(make):
    python, said = Python(), []
    installation = make(python)
    assert installation.run(lambda *about: said.append(about)) is Outcome.DONE
    assert python.did == ["torch>=2.3", ("safetensors>=0.4.3",)]
    assert [share for _what, share in said] == [0.0, 0.5, 1.0] and said[-1][0] == "Everything is installed."
    assert installation.missing() == [] and not installation.pending
    assert not any("numpy" in str(step) or "SimpleITK" in str(step) for step in python.did)
    partly = Python(torch="2.4")
    make(partly).run(lambda *_: None)
    assert partly.did == [("safetensors>=0.4.3",)]


def test_it_goes_on_after_the_restart_that_the_extension_needs(make):
    python = Python(extension=False)
    assert make(python).run(lambda *_: None) is Outcome.RESTART
    assert python.did == ["extension"]
    python.extension = True  # Slicer was restarted
    again = make(python)
    assert again.pending and again.plan().lines[0].startswith("torch")
    assert again.run(lambda *_: None) is Outcome.DONE
    assert python.did == ["extension", "torch>=2.3", ("safetensors>=0.4.3",)]
    assert not make(python).pending


def test_an_interrupted_installation_is_remembered_and_goes_on_where_it_stopped(make):
    python = Python()
    python.fails = OSError("connection reset")
    installation = make(python)
    with pytest.raises(InputError, match=r"torch could not be installed \(connection reset\); check the internet"):
        installation.run(lambda *_: None)
    assert make(python).pending
    python.fails, python.versions["torch"] = None, "2.13.0"
    make(python).run(lambda *_: None)
    assert python.did == [("safetensors>=0.4.3",)]


def test_what_another_program_installed_meanwhile_ends_the_wait(make):
    python = Python()
    installation = make(python)
    installation.settings[SETTING] = '{"step": "torch"}'
    assert installation.pending
    python.versions.update(torch="2.13", safetensors="0.8")
    assert not installation.pending and not installation.settings[SETTING]


def test_a_version_that_this_process_has_loaded_asks_for_a_restart(make, monkeypatch):
    monkeypatch.setitem(sys.modules, "safetensors", types.ModuleType("safetensors"))
    assert make(Python(torch="2.4", safetensors="0.4.0")).run(lambda *_: None) is Outcome.RESTART


def test_an_installer_that_does_nothing_is_found_out(make):
    python = Python(torch="2.4")
    python.install = lambda requirements: None
    with pytest.raises(InputError, match="safetensors is still missing after the installation; restart Slicer"):
        make(python).run(lambda *_: None)


def test_a_folder_without_write_permission_or_room_is_said_before(make, tmp_path, monkeypatch):
    monkeypatch.setattr(module.os, "access", lambda *_: False)
    plan = make(Python()).plan()
    assert plan.problem.startswith(f"{tmp_path} cannot be written; ask an administrator")
    with pytest.raises(InputError, match="ask an administrator"):
        make(Python()).run(lambda *_: None)
    monkeypatch.undo()
    monkeypatch.setattr(module.shutil, "disk_usage", lambda _: types.SimpleNamespace(free=10_000_000))
    assert "10 MB are free; make room first" in make(Python(), folder=str(tmp_path / "not" / "there")).plan().problem


def test_an_intel_mac_is_told_at_once(make):
    intel = Computer("Darwin", "x86_64", (3, 12))
    assert "Apple silicon" in make(Python(), computer=intel).plan().problem
    assert make(Python(torch="2.4"), computer=intel).plan().problem == ""
    assert not_possible(Computer("Darwin", "arm64", (3, 12))) == ""


def test_files_for_this_computer_have_their_exact_names():
    # As pip itself resolved them from PyPI for Python 3.12.
    assert (
        wheel_names(REQUIREMENTS, Computer("Windows", "AMD64", (3, 12)))[0] == "torch-2.13.0-cp312-cp312-win_amd64.whl"
    )
    mac = wheel_names(REQUIREMENTS, Computer("Darwin", "arm64", (3, 12)))
    assert mac[0] == "torch-2.13.0-cp312-cp312-macosx_14_0_arm64.whl"
    assert mac[-1] == "safetensors-0.8.0-cp310-abi3-macosx_11_0_arm64.whl"
    linux = wheel_names(REQUIREMENTS, LINUX)
    assert linux[0] == "torch-2.13.0+cpu-cp312-cp312-manylinux_2_28_x86_64.whl"
    assert "sympy-1.14.0-py3-none-any.whl" in linux and linux[-1].startswith("safetensors-0.8.0-cp310-abi3-manylinux")
    assert wheel_names(REQUIREMENTS, Computer("Linux", "riscv64", (3, 12))) == []


@pytest.mark.parametrize("machine", ["x86_64", "riscv64"])
def test_offline_instructions_name_files_place_and_command(machine):
    text = offline_instructions(REQUIREMENTS, Computer("Linux", machine, (3, 12)), "/home/me/packages")
    assert "--python-version 3.12" in text and "torch==2.13.0 safetensors==0.8.0" in text
    assert (
        'slicer.util.pip_install(["--no-index", "--find-links", r"/home/me/packages", "torch", "safetensors"])' in text
    )
    assert ("torch-2.13.0+cpu-cp312" in text) == (machine == "x86_64")
    assert ("--platform manylinux_2_28_x86_64" in text) == (machine == "x86_64")


def test_files_that_were_brought_are_installed_without_the_network(make, tmp_path):
    python = Python()
    folder = tmp_path / "brought"
    with pytest.raises(InputError, match=r"holds no package \(\.whl\)"):
        make(python).run_from(str(folder), lambda *_: None)
    folder.mkdir()
    (folder / "torch-2.13.0-cp312-cp312-win_amd64.whl").touch()
    assert make(python).run_from(str(folder), lambda *_: None) is Outcome.DONE
    assert python.did == [(str(folder), "torch>=2.3", "safetensors>=0.4.3")]


@pytest.fixture
def slicer_installer(slicer, monkeypatch):
    """The real installer over recorded calls of Slicer's packaging and of the PyTorch extension."""
    from dropiris.panels.slicer_installer import SlicerInstaller

    calls = []
    logic = types.SimpleNamespace(
        installTorch=lambda askConfirmation, torchVersionRequirement: (
            calls.append(("installTorch", askConfirmation, torchVersionRequirement)) or object()
        )
    )
    monkeypatch.setitem(sys.modules, "PyTorchUtils", types.SimpleNamespace(PyTorchUtilsLogic=lambda: logic))
    monkeypatch.setattr(slicer.util, "pip_install", lambda args: calls.append(("pip_install", args)), raising=False)
    packaging = types.ModuleType("slicer.packaging")
    packaging.pip_ensure = lambda requirements, **options: calls.append(("pip_ensure", requirements, options))
    return types.SimpleNamespace(installer=SlicerInstaller(), calls=calls, packaging=packaging, logic=logic)


def test_slicer_512_installs_through_its_packaging_without_asking_twice(slicer_installer, monkeypatch):
    monkeypatch.setitem(sys.modules, "slicer.packaging", slicer_installer.packaging)
    slicer_installer.installer.install(["safetensors>=0.4.3"])
    [(name, requirements, options)] = slicer_installer.calls
    assert (name, requirements) == ("pip_ensure", ["safetensors>=0.4.3"])
    assert options == {"prompt_install": False, "prompt_restart": False, "requester": "SegmentAnyScan"}


def test_slicer_510_falls_back_to_pip_install(slicer_installer, monkeypatch):
    monkeypatch.setitem(sys.modules, "slicer.packaging", None)
    slicer_installer.installer.install(["safetensors>=0.4.3"])
    slicer_installer.installer.install_from("C:/my files", ["torch>=2.3"])
    assert slicer_installer.calls == [
        ("pip_install", ["safetensors>=0.4.3"]),
        ("pip_install", ["--no-index", "--find-links", "C:/my files", "torch>=2.3"]),
    ]


def test_torch_comes_through_the_pytorch_extension_alone(slicer_installer, slicer, monkeypatch):
    installer = slicer_installer.installer
    assert not installer.has_torch_extension()
    monkeypatch.setattr(slicer.modules, "pytorchutils", object(), raising=False)
    assert installer.has_torch_extension()
    installer.install_torch(">=2.3")
    assert slicer_installer.calls == [("installTorch", False, ">=2.3")]
    slicer_installer.logic.installTorch = lambda **_: None
    with pytest.raises(InputError, match="PyTorch Util"):
        installer.install_torch(">=2.3")


@pytest.mark.parametrize("works", [True, False])
def test_the_extension_comes_from_the_extensions_manager(slicer_installer, slicer, monkeypatch, works):
    asked = []
    manager = types.SimpleNamespace(
        interactive=True, installExtensionFromServer=lambda name, restart: asked.append((name, restart)) or works
    )
    monkeypatch.setattr(slicer.app, "extensionsManagerModel", lambda: manager, raising=False)
    if works:
        slicer_installer.installer.install_torch_extension()
    else:
        with pytest.raises(InputError, match="Extensions Manager"):
            slicer_installer.installer.install_torch_extension()
    assert asked == [("PyTorch", False)] and manager.interactive is True
