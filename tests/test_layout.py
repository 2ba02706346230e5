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
    ("library",),
    ("worker",),
    ("runner",),
    ("experiments",),
    ("comparison",),
    ("decoders", "reports"),
    ("runs",),
    ("optimization",),
    ("networks",),
    ("objectives",),
    ("images",),
    ("settings",),
    ("metrics",),
    ("system",),
)
LONGEST_FILE = 300  # lines
# Packages that are imported in one place only, because importing them is slow or changes the process.
HEAVY = {
    "onnx2tf": {"networks/conversion/onnx2tf"},
    "matplotlib": {"reports/charts", "reports/figures"},
    "jinja2": {"reports/page"},
    "pooch": {"system/downloads"},
    "requests": {"system/downloads"},
    "torch": {
        *(f"comparison/pytorch/{name}" for name in ("network", "terms", "parameterizations", "optimizers", "optimization")),
        "networks/torch_modules",
        "metrics/perceptual",
        "experiments/benchmark/rivals",
        *(f"experiments/benchmark/methods/{name}" for name in ("bdpy", "horama", "lucent", "plenoptic")),
    },
    "tf2onnx": {"decoders/export"},
    "starlette": {"reports/viewer/app", "reports/viewer/guard"},
    "uvicorn": {"reports/viewer/server"},
    "av": {"reports/film"},
    "dask": {"runs/dask_cluster"},
    "distributed": {"runs/dask_cluster", "runs/dask_executor"},
}


def modules() -> dict[str, Path]:
    """Every module of the package by its path below it, such as `images/files`."""
    return {str(path.relative_to(PACKAGE).with_suffix("")): path for path in PACKAGE.rglob("*.py")}


def statements(tree: ast.AST, *, run: bool):
    """The statements of a module, also inside functions; where `run`, without those that only a type checker sees."""
    for node in ast.iter_child_nodes(tree):
        if run and isinstance(node, ast.If) and ast.unparse(node.test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING"):
            continue
        yield node
        yield from statements(node, run=run)


def imports(path: Path, *, run: bool = False):
    """What a file imports: pairs of a module and a name in it, or None."""
    for node in statements(ast.parse(path.read_text()), run=run):
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
    member = f"{inside}/{name}" if inside else f"{name}"
    for candidate in (member, f"{member}/__init__", inside, f"{inside}/__init__"):
        if candidate in known:
            return candidate
    return None


def level(name: str) -> int:
    """The height of a module's floor."""
    return next(len(FLOORS) - number for number, floor in enumerate(FLOORS) if name.split("/")[0] in floor)


def imported(*, run: bool = False) -> dict[str, set[str]]:
    """Module -> the modules of the package that it imports."""
    known = modules()
    return {
        name: {
            target for module, what in imports(path, run=run) if (target := own(module, what, known)) and target != "__init__"
        }
        for name, path in known.items()
    }


def test_every_entry_of_the_package_is_on_a_floor():
    entries = [path.stem for path in PACKAGE.iterdir() if path.name != "__pycache__"]
    assert sorted(entries) == sorted(name for floor in FLOORS for name in floor)


def test_imports_go_down():
    wrong = [
        f"{name} imports {target}"
        for name, targets in imported().items()
        for target in targets
        if name.split("/")[0] != target.split("/")[0] and level(target) >= level(name)
    ]
    assert wrong == []


def test_no_files_import_each_other_in_a_circle():
    graphlib.TopologicalSorter(imported(run=True)).prepare()  # raises CycleError, which names the circle


def test_no_file_is_long():
    lengths = {name: len(path.read_text().splitlines()) for name, path in modules().items()}
    assert {name: length for name, length in lengths.items() if length > LONGEST_FILE} == {}


def test_heavy_packages_are_imported_in_one_place():
    wrong = [
        f"{name} imports {module}"
        for name, path in modules().items()
        for module, _ in imports(path, run=True)
        if module and name not in HEAVY.get(module.split(".")[0], {name})
    ]
    assert wrong == []


def test_only_the_command_line_reads_flags():
    readers = [n for n, path in modules().items() if any(m and m.startswith("absl") for m, _ in imports(path))]
    assert readers == ["settings/flags"]
