"""The floors of the house (BUILD.md, "The layout"): what a folder may import, how long a file may be, who reads flags."""

import ast
import graphlib
from pathlib import Path

import tfinvert

PACKAGE = Path(tfinvert.__file__).parent
# The highest first. A folder or file imports only from the floors below its own; files of one folder import each other freely,
# as long as they do not do so in a circle.
FLOORS = (
    ("__init__",),
    ("cli",),
    ("experiments",),
    ("comparison",),
    ("decoders", "reports"),
    ("runs",),
    ("optimization",),
    ("networks",),
    ("objectives",),
    ("images",),
    ("settings",),
    ("metrics", "system"),
    ("errors",),
)
# Packages that are imported in one place only, because importing them is slow or changes the process.
HEAVY = {
    "onnx2tf": {"networks/conversion/convert"},
    "matplotlib": {"reports/charts"},
    "jinja2": {"reports/page"},
    "torch": {"comparison/pytorch"},
    "requests": {"networks/zoo"},
    "tf2onnx": {"decoders/model"},
}


def modules() -> dict[str, Path]:
    """Every module of the package by its path below it, such as `images/files`."""
    return {str(path.relative_to(PACKAGE).with_suffix("")): path for path in PACKAGE.rglob("*.py")}


def imports(path: Path):
    """What a file imports, also inside functions: pairs of a module and a name in it, or None."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, None
        elif isinstance(node, ast.ImportFrom):
            for alias in node.names:
                yield node.module, alias.name


def own(module: str | None, name: str | None, known) -> str | None:
    """The file of the package that an import statement means, or None for another package's."""
    if module is None or module.split(".")[0] != "tfinvert":
        return None
    inside = "/".join(module.split(".")[1:])
    for candidate in (f"{inside}/{name}" if inside else name, inside, f"{inside}/__init__"):
        if candidate in known:
            return candidate
    return None


def level(name: str) -> int:
    """The height of a module's floor."""
    return next(len(FLOORS) - number for number, floor in enumerate(FLOORS) if name.split("/")[0] in floor)


def imported() -> dict[str, set[str]]:
    """Module -> the modules of the package that it imports."""
    known = modules()
    return {
        name: {target for module, what in imports(path) if (target := own(module, what, known)) and target != "__init__"}
        for name, path in known.items()
    }


def test_every_folder_is_on_a_floor():
    assert {name.split("/")[0] for name in modules()} == {name for floor in FLOORS for name in floor}


def test_imports_go_down():
    wrong = [
        f"{name} imports {target}"
        for name, targets in imported().items()
        for target in targets
        if name.split("/")[0] != target.split("/")[0] and level(target) >= level(name)
    ]
    assert wrong == []


def test_no_files_import_each_other_in_a_circle():
    graphlib.TopologicalSorter(imported()).prepare()  # raises CycleError, which names the circle


def test_heavy_packages_are_imported_in_one_place():
    found = [
        f"{name} imports {module}"
        for name, path in modules().items()
        for module, _ in imports(path)
        if module and name not in HEAVY.get(module.split(".")[0], {name})
    ]
    assert found == []


def test_only_the_command_line_reads_flags():
    readers = [n for n, path in modules().items() if any(m and m.startswith("absl") for m, _ in imports(path))]
    assert readers == ["cli"]
