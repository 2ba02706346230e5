"""The floors of the house: a module imports only from lower floors (BUILD.md, "The layout")."""

import ast
from pathlib import Path

import tfinvert

PACKAGE = Path(tfinvert.__file__).parent
EXPERIMENTS = (
    "invert",
    "layers",
    "suite",
    "sweep",
    "diff",
    "report",
    "compare",
    "saliency",
    "fool",
    "style",
    "class_vis",
    "train_decoder",
    "decode",
    "compare_decoders",
    "__init__",
)
# The highest first. A file may import from the entries below its own; within a folder, from those listed below it.
FLOORS = (
    ("__init__", "cli"),
    tuple(f"experiments/{n}" for n in EXPERIMENTS),
    ("report/page", "drive"),
    ("report/sheet", "report/charts", "report/__init__", "optimize", "series", "torch_port", "training"),
    ("rundir", "checkpoints", "questions", "presets", "networks/classifier", "networks/scales", "provenance", "feature_cache"),
    ("decoders", "pictures"),
    ("networks/network",),
    ("networks/convert",),
    ("networks/random_weights", "networks/naming", "networks/zoo"),
    ("networks/topologies",),
    ("networks/graph", "networks/__init__"),
    ("optimizers",),
    ("terms", "parameterizations", "schedules", "transforms", "precision"),
    ("adversarial",),
    ("metrics", "images", "interruption", "locks", "config", "imagenet", "attribution"),
    ("errors", "files", "quiet"),
)
HEAVY = {
    "onnx2tf": {"networks/convert"},
    "matplotlib": {"report/charts"},
    "jinja2": {"report/page"},
    "torch": {"torch_port"},
    "requests": {"networks/zoo"},
    "tf2onnx": {"decoders"},
}


def modules():
    return {str(path.relative_to(PACKAGE).with_suffix("")): path for path in PACKAGE.rglob("*.py")}


def imports(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, None
        elif isinstance(node, ast.ImportFrom):
            for alias in node.names:
                yield node.module, alias.name


def own(module, name, known):
    """The file in the package that an import statement means, or None."""
    if module is None or module.split(".")[0] != "tfinvert":
        return None
    inside = "/".join(module.split(".")[1:])
    for candidate in (f"{inside}/{name}" if inside else name, inside, f"{inside}/__init__"):
        if candidate in known:
            return candidate
    return None


def test_every_module_is_on_a_floor():
    assert sorted(modules()) == sorted(name for floor in FLOORS for name in floor)


def test_imports_go_down():
    level = {name: len(FLOORS) - number for number, floor in enumerate(FLOORS) for name in floor}
    known = modules()
    wrong = [
        f"{name} imports {target}"
        for name, path in known.items()
        for module, what in imports(path)
        if (target := own(module, what, known)) and target != "__init__" and level[target] >= level[name]
    ]
    assert wrong == []


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
