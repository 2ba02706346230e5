import pytest

pytest.importorskip("torch")

from tests.comparison.diagnosis.planted import BASE, ONE, RIGHT, TWO_MISTAKES, Bench, named

QUICK, QUICK_LOSSES = ("bgr", "before relu", "flattened"), ("epsilon",)
LOSSES = ("losses",)


@pytest.fixture(scope="module")
def bench(tmp_path_factory):
    return Bench(tmp_path_factory.mktemp("bench"))


def slow_but(names, quick):
    return [name if name in quick else pytest.param(name, marks=pytest.mark.slow) for name in names]


@pytest.mark.parametrize("name", slow_but(ONE, QUICK))
def test_the_mistake_of_a_port_is_named(bench, name):
    reference, changes, words = ONE[name]
    result = bench.diagnose(reference, changes)
    assert named(result.diagnosis, words), result.summary()
    assert result.diagnosis.left is None
    assert result.exit_code == 3


@pytest.mark.parametrize(
    "name", slow_but(("bgr", "transposed kernels", "gatys", "epsilon", "momentum of pytorch"), QUICK_LOSSES)
)
def test_losses_alone_tell_the_mistake(bench, name):
    reference, changes, words = ONE[name]
    found = bench.diagnose(reference, changes, LOSSES).diagnosis
    assert named(found, words), [finding.cause for finding in found.findings]


@pytest.mark.parametrize("name", slow_but(TWO_MISTAKES, ()))
def test_two_mistakes_are_named(bench, name):
    reference, changes, words = TWO_MISTAKES[name]
    found = bench.diagnose(reference, changes).diagnosis
    assert named(found, words), [finding.cause for finding in found.findings]


@pytest.mark.parametrize("name", slow_but(RIGHT, ("one thread",)))
def test_a_right_port_is_no_false_alarm(bench, name):
    result = bench.diagnose(*RIGHT[name])
    assert result.diagnosis.agrees, result.summary()
    assert result.exit_code == 0
    assert "agrees with the reference" in result.summary()


def test_another_start_is_said_to_be_one_and_nothing_else(bench):
    reference = bench.reference(BASE)
    arrays = bench.port(reference, BASE, {}, start=0.5)
    found = bench.compare(reference, arrays).diagnosis
    assert [finding.cause for finding in found.findings] == ["The port has another start; what follows is compared from there."]
    assert found.left is None


@pytest.mark.slow
def test_what_no_mistake_explains_is_said_so(bench):
    reference = bench.reference(BASE)
    arrays = bench.port(reference, BASE, {})
    arrays["losses"] = arrays["losses"][::-1].copy()
    result = bench.compare(reference, {"losses": arrays["losses"]})
    assert result.diagnosis.findings == ()
    assert "Nothing in the catalog explains the rest: losses still differs" in result.summary()
