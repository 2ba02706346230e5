"""No file that is read can bring code with it: nothing unpickles, evaluates or loads layers that run what a file says."""

import ast

import pytest

from tests.conftest import ROOT

BRING_CODE = {"pickle", "cPickle", "_pickle", "dill", "cloudpickle", "joblib", "shelve", "marshal", "code", "codeop", "pty"}
# The one unpickler of the package, which makes arrays alone: tests/networks/test_homework.py gives it others.
ARRAYS_ONLY = {ROOT / "tfinvert" / "networks" / "npy_files.py"}
PACKAGE = sorted({*(ROOT / "tfinvert").rglob("*.py")} - ARRAYS_ONLY)
# Results can be pickled by their user, which these tests do with results of their own.
PICKLE_RESULTS = {ROOT / "tests" / "runs" / "test_result.py", ROOT / "tests" / "test_library.py"}
HOMEWORK = {ROOT / "tests" / "networks" / "test_homework.py"}  # which writes files as the homework does
TESTS = sorted({*(ROOT / "tests").rglob("*.py")} - PICKLE_RESULTS - HOMEWORK)


def called(node):
    """What a call calls, as it is written."""
    return ast.unparse(node.func)


def keyword(node, name):
    return next((ast.unparse(one.value) for one in node.keywords if one.arg == name), None)


def wrong(tree):
    """The statements of a module that could run what a file says."""
    for node in ast.walk(tree):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [node.module or ""]
        if any(name.split(".")[0] in BRING_CODE for name in names):
            yield ast.unparse(node)
        if not isinstance(node, ast.Call):
            continue
        name = called(node)
        if name in ("eval", "exec", "compile", "__import__", "os.system", "yaml.load", "pd.read_pickle"):
            yield ast.unparse(node)
        if name.endswith("Lambda") or "unsafe_deserialization" in name or keyword(node, "shell") not in (None, "False"):
            yield ast.unparse(node)
        if name == "torch.load" and keyword(node, "weights_only") != "True":
            yield ast.unparse(node)
        if name in ("np.load", "numpy.load") and keyword(node, "allow_pickle") != "False":
            yield ast.unparse(node)
        if name.endswith("models.load_model") and keyword(node, "safe_mode") != "True":
            yield ast.unparse(node)
        if name in ("onnx.load", "onnx.load_model") and keyword(node, "load_external_data") != "False":
            yield ast.unparse(node)


@pytest.mark.parametrize("path", PACKAGE, ids=lambda path: str(path.relative_to(ROOT)))
def test_the_package_runs_nothing_that_a_file_says(path):
    assert list(wrong(ast.parse(path.read_text()))) == []


@pytest.mark.parametrize("path", TESTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_nothing_is_pickled(path):
    tree = ast.parse(path.read_text())
    imported = [alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names]
    assert not BRING_CODE & {name.split(".")[0] for name in imported}


@pytest.mark.parametrize(
    "text",
    [
        "import pickle",
        "from marshal import loads",
        "np.load(path)",
        "np.load(path, allow_pickle=True)",
        "eval(text)",
        "keras.layers.Lambda(f)",
        "keras.models.load_model(path)",
        "keras.models.load_model(path, safe_mode=False)",
        "onnx.load(path)",
        "subprocess.run(text, shell=True)",
    ],
)
def test_the_check_finds_what_it_looks_for(text):
    assert list(wrong(ast.parse(text)))
