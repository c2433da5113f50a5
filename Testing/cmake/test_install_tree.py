"""What CMake ships: every file of both modules, of the package and of Resources, and the result imports."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
STAND_IN = Path(__file__).parent / "slicer_stand_in"
MODULES = ("DropGenSeg", "IrisICL")
# Not shipped with a module: its build file, and caches.
UNSHIPPED = {"CMakeLists.txt", ".DS_Store"}


@dataclass(frozen=True)
class Tree:
    """A configured, built and installed extension."""

    record: list[tuple[str, str, str, str]]
    metadata: dict[str, str]
    installed: Path


def cmake_program() -> str:
    """The PyPI package's own program first: it is what the test extra installs."""
    try:
        import cmake

        found = shutil.which("cmake", path=cmake.CMAKE_BIN_DIR)
    except ImportError:
        found = None
    found = found or shutil.which("cmake")
    if not found:
        pytest.skip("CMake is not installed; `pip install cmake`")
    return found


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Tree:
    cmake, folder = cmake_program(), tmp_path_factory.mktemp("build")
    # The project has no C code; telling CMake not to look for a compiler lets this run where there is none.
    no_compiler = [f"-DCMAKE_{language}_COMPILER_ID_RUN=1" for language in ("C", "CXX")]
    no_compiler += [f"-DCMAKE_{language}_COMPILER_FORCED=1" for language in ("C", "CXX")]
    no_compiler += [f"-DCMAKE_{language}_COMPILER={Path(sys.executable).as_posix()}" for language in ("C", "CXX")]
    for command in (
        [cmake, "-S", str(ROOT), "-B", str(folder / "build"), f"-DSlicer_DIR={STAND_IN}", *no_compiler],
        [cmake, "--build", str(folder / "build")],
        [cmake, "--install", str(folder / "build"), "--prefix", str(folder / "installed")],
    ):
        done = subprocess.run(command, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout}\n{done.stderr}"
    lines = (folder / "build" / "record.txt").read_text(encoding="utf-8").splitlines()
    metadata = (folder / "build" / "metadata.txt").read_text(encoding="utf-8").splitlines()
    return Tree(
        [tuple(line.split("|")) for line in lines],  # type: ignore[misc]
        dict(line.split("=", 1) for line in metadata),
        folder / "installed" / "lib" / "Slicer-5.12" / "qt-scripted-modules",
    )


def files_under(folder: Path) -> set[str]:
    found = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    return {name for name in found if "__pycache__" not in name and Path(name).name not in UNSHIPPED}


def listed(tree: Tree, target: str, kind: str) -> set[str]:
    return {name for of, what, _, name in tree.record if of == target and what == kind}


@pytest.mark.parametrize("module", MODULES)
def test_every_file_of_a_module_is_listed(tree: Tree, module: str) -> None:
    files = {name for name in files_under(ROOT / module) if not name.startswith("Testing/")}
    scripts, resources = listed(tree, module, "SCRIPTS"), listed(tree, module, "RESOURCES")
    assert scripts == {name for name in files if name.endswith(".py")}
    assert resources == {name for name in files if not name.endswith(".py")}
    assert f"{module}.py" in scripts and any(name.endswith(".ui") for name in resources)


@pytest.mark.parametrize("module", MODULES)
def test_modules_ask_for_the_generic_tests(tree: Tree, module: str) -> None:
    assert (module, "MODULE", (ROOT / module).as_posix(), "WITH_GENERIC_TESTS=TRUE") in tree.record


def test_the_package_is_shipped_completely(tree: Tree) -> None:
    source = ROOT / "training" / "src" / "dropiris"
    assert files_under(tree.installed / "dropiris") == files_under(source)


def test_models_and_other_shared_resources_are_shipped(tree: Tree) -> None:
    shared = {name for name in files_under(ROOT / "Resources") if not name.startswith("Screenshots/")}
    shared = {name for name in shared if not Path(name).name.startswith(".")}
    assert shared <= files_under(tree.installed / "Resources")


def test_nothing_is_shipped_twice_under_one_name(tree: Tree) -> None:
    names = [name for _, kind, _, name in tree.record if kind != "MODULE"]
    assert len(set(names)) == len(names)


def test_nothing_of_tests_or_caches_is_shipped(tree: Tree) -> None:
    shipped = {path.as_posix() for path in tree.installed.rglob("*")}
    assert not [name for name in shipped if "__pycache__" in name or "/test_" in name]


def run_in_tree(tree: Tree, code: str) -> subprocess.CompletedProcess[str]:
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("DROPIRIS_", "PYTHONPATH"))}
    environment["PYTHONPATH"] = str(tree.installed)
    environment["PYTHONDONTWRITEBYTECODE"] = "1"
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=environment, cwd=tree.installed, timeout=300
    )


IMPORT_ALL = """
import importlib, json, pathlib, pkgutil, sys
import dropiris
IN_SLICER = ("dropiris.mrml", "dropiris.panels")
names = [m.name for m in pkgutil.walk_packages(dropiris.__path__, "dropiris.") if not m.name.endswith("__main__")]
names = [name for name in names if name.startswith(IN_SLICER) == bool(MODULES)] + MODULES
places = [pathlib.Path(importlib.import_module(name).__file__).resolve() for name in names]
outside = [str(place) for place in places if not place.is_relative_to(pathlib.Path.cwd().resolve())]
print(json.dumps([len(names), outside]))
"""


def test_the_installed_package_imports_completely_and_from_there(tree: Tree) -> None:
    done = run_in_tree(tree, "MODULES = []" + IMPORT_ALL)
    assert done.returncode == 0, done.stderr
    count, outside = json.loads(done.stdout.splitlines()[-1])
    assert count > 40 and not outside


def test_the_installed_modules_import_beside_a_real_scene(tree: Tree) -> None:
    pytest.importorskip("slicer_core", reason="the slicer-core wheel is not installed")
    # Behind the tree on the path: only what stands in for the application comes from the repository.
    start = f"import sys; sys.path.append({str(ROOT / 'Testing')!r}); import slicer_headless; slicer_headless.start()\n"
    done = run_in_tree(tree, f"{start}MODULES = {list(MODULES)!r}{IMPORT_ALL}")
    assert done.returncode == 0, done.stderr
    count, outside = json.loads(done.stdout.splitlines()[-1])
    assert count > 35 and not outside


def test_the_installed_catalogue_finds_the_shipped_models(tree: Tree) -> None:
    code = "from dropiris.models.catalogue import Catalogue; print(Catalogue(installed='none').shipped)"
    done = run_in_tree(tree, code)
    assert done.returncode == 0, done.stderr
    assert Path(done.stdout.strip()) == (tree.installed / "Resources" / "Models").resolve()


def test_metadata_meets_the_rules_of_the_extensions_index(tree: Tree) -> None:
    text = (ROOT / "CMakeLists.txt").read_text(encoding="utf-8")
    entry = json.loads((ROOT / "SegmentAnyScan.json").read_text(encoding="utf-8"))
    assert tree.metadata["PROJECT"] == "SegmentAnyScan" and not tree.metadata["PROJECT"].startswith("Slicer")
    assert entry["scm_url"].rstrip("/").removesuffix(".git").rsplit("/", 1)[-1] == "SlicerSegmentAnyScan"
    assert entry["category"] == "Segmentation" and entry["build_dependencies"] == [tree.metadata["DEPENDS"]]
    for variable in ("ICONURL", "SCREENSHOTURLS"):
        line = next(line for line in text.splitlines() if f"EXTENSION_{variable}" in line)
        assert line.count('"') == 2 and line.endswith('")')
    for url in [tree.metadata["ICONURL"], *tree.metadata["SCREENSHOTURLS"].split()]:
        assert (ROOT / url.split("/main/", 1)[1]).is_file(), f"{url} names a file that is not in the repository"
    assert (ROOT / "LICENSE.txt").is_file() and (ROOT / "README.md").is_file()


def test_the_licence_is_apache_2_and_the_citation_names_both_papers() -> None:
    import yaml

    assert "Apache License" in (ROOT / "LICENSE.txt").read_text(encoding="utf-8")
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    titles = " ".join(reference["title"] for reference in citation["references"])
    assert citation["license"] == "Apache-2.0" and "Invariance" in titles and "Show and Segment" in titles
