"""From terms and a picture's own labels to the label vector; no label ever leaves [0, 1]."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from support.bundles import HAIR, TOY_LEVELS
from support.graphs import labelled_graph

from models.bundle.archive import Bundle
from models.bundle.labels import own_labels, probabilities
from models.bundle.manifest import Domain, Manifest, Picture
from models.bundle.store import Snapshot
from worker.domains import Step, Term, labels, plan, step_columns
from worker.wish import Wish

COLUMNS = tuple(TOY_LEVELS)

strengths = st.floats(0, 2, allow_nan=False)
looks = st.lists(st.floats(0, 1, width=32), min_size=len(COLUMNS), max_size=len(COLUMNS))


def vector(toy: Bundle, expression: str, look: dict[str, float]) -> tuple[dict[str, float], float]:
    """The labels by name, and the pixel strength, for a picture that looks like this."""
    (step,) = plan(Wish(domains=(expression,)), Snapshot((toy,))).steps
    values, strength = labels(step, np.array([look.get(name, 0.1) for name in COLUMNS], np.float32))
    return {name: round(float(value), 6) for name, value in zip(COLUMNS, values, strict=True) if value}, strength


def test_open_labels_are_the_pictures_own(toy: Bundle) -> None:
    """Labels that a request leaves open come from the picture: the likeliest hair colour, attributes above one half."""
    look = {"brown": 0.6, "black": 0.3, "glasses": 0.9}
    assert vector(toy, "smiling", look) == ({"brown": 1, "smiling": 1, "glasses": 1}, 1)
    assert vector(toy, "blond", look) == ({"blond": 1, "glasses": 1}, 1)
    assert vector(toy, "-glasses", look) == ({"brown": 1}, 1)


def test_taking_a_group_member_away_leaves_the_next_likeliest(toy: Bundle) -> None:
    """`-brown` gives the likeliest other colour, and changes nothing in a picture that is not brown."""
    look = {"brown": 0.6, "black": 0.3}
    assert vector(toy, "-brown", look)[0] == {"black": 1}
    assert vector(toy, "-brown,-black", look | {"grey": 0.2})[0] == {"grey": 1}
    assert vector(toy, "-blond", look)[0] == {"brown": 1}
    assert vector(toy, "-brown,grey", look)[0] == {"grey": 1}


def test_weaker_terms_move_their_labels_part_of_the_way(toy: Bundle) -> None:
    """The strongest term goes to the pixels, the others keep their share of it in label space."""
    look = {"brown": 0.9}
    assert vector(toy, "smiling:0.5", look) == ({"brown": 1, "smiling": 1}, 0.5)
    assert vector(toy, "smiling:2,blond:0.5", look) == ({"brown": 0.75, "blond": 0.25, "smiling": 1}, 2)
    assert vector(toy, "smiling,-brown:0", look) == ({"brown": 1, "smiling": 1}, 1)


def test_nothing_known_means_nothing_set(toy: Bundle) -> None:
    """Without a classifier all probabilities are 0, and only the requested labels are set."""
    (step,) = plan(Wish(domains=("smiling",)), Snapshot((toy,))).steps
    values, _ = labels(step, np.zeros(len(COLUMNS), np.float32))
    assert values.tolist() == [0, 0, 0, 0, 1, 0]


@given(
    st.lists(st.tuples(st.sampled_from(COLUMNS), st.booleans(), strengths), unique_by=lambda x: x[0], min_size=1), looks
)
def test_labels_never_leave_zero_to_one(toy: Bundle, wanted: list[tuple[str, bool, float]], look: list[float]) -> None:
    """For any terms and any picture, labels are float32 in 0..1, groups sum to 1, and the largest strength counts."""
    step = Step(toy, "generator", tuple(Term(*term) for term in _possible(wanted)))
    likely = np.array(look, np.float32)
    values, strength = labels(step, likely)
    assert values.dtype == np.float32
    assert values.shape == (len(COLUMNS),)
    assert values.min() >= 0
    assert values.max() <= 1
    assert strength == max(term.strength for term in step.terms)
    hair = float(values[: len(HAIR)].sum())
    assert hair == pytest.approx(1, abs=1e-5) or not likely[: len(HAIR)].any()


@given(st.lists(st.tuples(st.sampled_from(COLUMNS), st.booleans()), unique_by=lambda x: x[0], min_size=1), looks)
def test_strength_zero_changes_nothing(toy: Bundle, wanted: list[tuple[str, bool]], look: list[float]) -> None:
    """With all strengths 0 the pixel strength is 0 and the labels are the picture's own."""
    step = Step(toy, "generator", tuple(Term(name, negated, 0) for name, negated in wanted))
    likely = np.array(look, np.float32)
    values, strength = labels(step, likely)
    assert strength == 0
    np.testing.assert_array_equal(values, own_labels(toy.manifest, likely))


def test_a_fixed_target_has_no_labels(store: Snapshot) -> None:
    """For a graph without labels the vector is empty and the strength is the term's."""
    (step,) = plan(Wish(domains=("zebra:0.25",)), store).steps
    values, strength = labels(step, np.zeros(0, np.float32))
    assert values.shape == (0,)
    assert strength == 0.25


def joint_bundle() -> Bundle:
    """Two sets: blond and old of celeba, and the moods happy and sad of rafd."""
    manifest = Manifest(
        name="joint",
        version="1",
        family="stargan",
        domains=(
            Domain(name="blond", column=0, mask="celeba"),
            Domain(name="old", column=1, mask="celeba"),
            Domain(name="happy", column=2, group="mood", mask="rafd"),
            Domain(name="sad", column=3, group="mood", mask="rafd"),
        ),
        graphs={"generator": labelled_graph("g.onnx", 6)},
        picture=Picture(size=8),
        label_order=("blond", "old", "happy", "sad"),
        mask_columns=("celeba", "rafd"),
        licence="CC0-1.0",
    )
    return Bundle(Path("joint"), manifest)


def test_joint_training_sets_the_mask_and_clears_the_other_set() -> None:
    """Terms of one data set make a step with its mask column 1; open labels are the picture's, the other's are 0."""
    blond, sad = plan(Wish(domains=("blond,sad",)), Snapshot((joint_bundle(),))).steps
    likely = np.array([0.1, 0.9, 0.8, 0.1], np.float32)
    assert labels(blond, likely)[0].tolist() == [1, 1, 0, 0, 1, 0]
    assert labels(sad, likely)[0].tolist() == [0, 0, 0, 1, 0, 1]
    assert [step_columns(step).tolist() for step in (blond, sad)] == [
        [True, True, False, False],
        [False, False, True, True],
    ]


def test_as_many_passes_as_masks_are_needed() -> None:
    """Terms of one set are done in one pass, even where another set's stand between them."""
    steps = plan(Wish(domains=("blond,happy:0.5,-old",)), Snapshot((joint_bundle(),))).steps
    assert [[str(term) for term in step.terms] for step in steps] == [["blond", "-old"], ["happy:0.5"]]


def test_probabilities_are_softmax_in_groups_and_sigmoid_elsewhere(toy: Bundle) -> None:
    """Against the textbook formulas, and without overflow for huge logits."""
    logits = np.array([[1, 2, 0.5, -1, 0.3, -2], [1e4, -1e4, 0, 0, 1e4, -1e4]], np.float32)
    result = probabilities(toy.manifest, logits)
    weights = np.exp(logits[0, :4].astype(np.float64))
    expected = [*(weights / weights.sum()), *(1 / (1 + np.exp(-logits[0, 4:].astype(np.float64))))]
    np.testing.assert_allclose(result[0], expected, rtol=1e-5)
    np.testing.assert_array_equal(result[1], [1, 0, 0, 0, 1, 0])
    assert result.dtype == np.float32


@pytest.mark.parametrize("columns", [0, 5, 7])
def test_a_wrong_number_of_columns_is_refused(toy: Bundle, columns: int) -> None:
    """Probabilities and logits that do not fit the label order are an error, never broadcast."""
    wrong: NDArray[np.float32] = np.zeros((1, columns), np.float32)
    with pytest.raises(ValueError, match=f"6 label columns, not {columns}"):
        probabilities(toy.manifest, wrong)
    with pytest.raises(ValueError, match=f"6 label columns, not {columns}"):
        own_labels(toy.manifest, wrong[0])


def _possible(wanted: list[tuple[str, bool, float]]) -> list[tuple[str, bool, float]]:
    # At most one positive hair colour, and never all of them taken away, as a plan guarantees.
    positive = [name for name, negated, _ in wanted if name in HAIR and not negated]
    kept = [term for term in wanted if term[0] not in positive[1:]]
    gone = [name for name, negated, _ in kept if name in HAIR and negated]
    return [term for term in kept if term[0] != gone[-1]] or [("smiling", False, 1)] if len(gone) == len(HAIR) else kept
