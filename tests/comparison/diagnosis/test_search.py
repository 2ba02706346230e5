import pytest

pytest.importorskip("torch")

from tests.comparison.diagnosis.planted import BASE, ONE, RIGHT, SAID, TWO_MISTAKES, Bench, named
from tfinvert.comparison.diagnosis.trials import nearest
from tfinvert.images import initial_image

QUICK, QUICK_LOSSES = ("bgr",), ("epsilon",)
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


@pytest.mark.parametrize("name", slow_but(("bgr", "gatys", "epsilon", "momentum of pytorch", "moving target"), QUICK_LOSSES))
def test_losses_alone_tell_the_mistake(bench, name):
    reference, changes, words = ONE[name]
    found = bench.diagnose(reference, changes, LOSSES).diagnosis
    assert named(found, words), [finding.cause for finding in found.findings]


def test_mistakes_that_give_the_same_losses_are_all_named(bench):
    """A network with transposed kernels sees an image as the right one sees it with rows and columns swapped."""
    reference, changes, _ = ONE["transposed kernels"]
    result = bench.diagnose(reference, changes, LOSSES)
    (finding,) = result.diagnosis.findings
    assert {finding.cause, *finding.alternatives} == {
        "The kernels are transposed: their rows and columns are swapped.",
        "Rows and columns of the image are swapped.",
    }
    assert f"The same numbers come of another mistake: {finding.alternatives[0]}" in result.summary()
    assert result.diagnosis.left is None


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


def test_a_port_in_bfloat16_is_said_to_be_in_bfloat16(bench):
    reference, changes, words, _ = SAID["bfloat16"]
    found = bench.diagnose(reference, changes).diagnosis
    assert named(found, words), [finding.cause for finding in found.findings]
    assert found.left is None


def test_other_noise_is_said_to_be_other_noise(bench):
    """With its losses alone; where the port gives its start, that is compared."""
    reference = bench.reference(BASE)
    arrays = bench.port(reference, BASE, {}, initial_image("noise", (32, 32), seed=7))
    found = bench.compare(reference, {"losses": arrays["losses"]}).diagnosis
    (finding,) = found.findings
    assert finding.cause.startswith("The port starts from other noise")
    assert found.left is None


@pytest.mark.parametrize("first", [1, pytest.param(0, marks=pytest.mark.slow)])
def test_what_no_mistake_explains_is_said_so(bench, first):
    reference = bench.reference(BASE)
    losses = bench.port(reference, BASE, {})["losses"]
    losses[first:] = losses[first:][::-1].copy()
    result = bench.compare(reference, {"losses": losses})
    assert result.diagnosis.findings == ()
    assert "Nothing in the catalog explains the rest: losses still differs" in result.summary()


class Growing:
    """A trial whose ratio grows as it is computed."""

    def __init__(self, *ratios):
        self.ratios, self.count = ratios, 1

    @property
    def ratio(self):
        return max(self.ratios[: self.count])

    @property
    def is_whole(self):
        return self.count == len(self.ratios)

    def go_on(self):
        self.count += 1


def test_trials_are_ordered_as_if_all_were_computed_and_are_not():
    trials = [Growing(1, 9, 9), Growing(2, 3, 4), Growing(8, 8, 8), Growing(0, 2, 3)]
    assert [trial.ratio for trial in nearest(trials, 2, lambda found: 10)] == [3, 4]
    assert [trial.count for trial in trials] == [2, 3, 1, 3]
    assert nearest([Growing(5, 6), Growing(7, 7)], 2, lambda found: 4) == []
