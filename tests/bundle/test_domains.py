"""Domain expressions: what is understood, what is refused, and which bundles carry a request out."""

import difflib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.bundles import HAIR, TOY_LEVELS
from support.graphs import labelled_graph

from models.bundle.archive import Bundle
from models.bundle.manifest import Domain, Manifest, Picture, canonical
from models.bundle.store import Snapshot
from worker.domains import (
    Plan,
    Step,
    Term,
    parse,
)
from worker.domains import plan as plan_of
from worker.errors import InvalidDomains, UnknownDomain, UnknownModelError
from worker.wish import Wish

COLUMNS = tuple(TOY_LEVELS)
SPELLINGS = {"blond": ("blond", "blonde", "Blond_Hair"), "grey": ("grey", "gray"), "smiling": ("smiling",)}

strengths = st.floats(0, 2, allow_nan=False)
names = st.from_regex(r"[a-z0-9]{1,8}(-[a-z0-9]{1,8}){0,2}", fullmatch=True)
terms = st.builds(Term, names, st.booleans(), strengths)


def attributes(name: str, domains: dict[str, str | None]) -> Bundle:
    """A bundle in name only, of domains and their groups; nothing reads its files."""
    return Bundle(
        Path(name),
        Manifest(
            name=name,
            version="1",
            family="stargan",
            domains=tuple(
                Domain(name=domain, group=group, column=column)
                for column, (domain, group) in enumerate(domains.items())
            ),
            graphs={"generator": labelled_graph("g.onnx", len(domains))},
            picture=Picture(size=8),
            label_order=tuple(domains),
            licence="CC0-1.0",
        ),
    )


def plan(expressions: list[str], snapshot: Snapshot, *, model: str | None = None, strength: float = 1) -> Plan:
    """The plan of the wish for these expressions."""
    return plan_of(Wish(domains=tuple(expressions), model=model, strength=strength), snapshot)


def code_of(expressions: list[str], snapshot: Snapshot, *, strength: float = 1) -> str:
    """The code of the error that the plan must raise."""
    with pytest.raises((InvalidDomains, UnknownDomain)) as caught:
        plan(expressions, snapshot, strength=strength)
    return caught.value.code


def shape(made: Plan) -> list[tuple[str, str, list[str]]]:
    """A plan as (bundle, graph, terms) of each step."""
    return [(step.bundle.name, step.graph, [str(term) for term in step.terms]) for step in made.steps]


# --- expressions


@given(st.lists(terms, min_size=1, max_size=6, unique_by=lambda term: term.name))
def test_terms_survive_being_written_and_parsed(wanted: list[Term]) -> None:
    """Terms written as text and parsed again are the same, as one list or as repeated parameters."""
    written = [str(term) for term in wanted]
    assert parse([",".join(written)]) == parse(written) == tuple(wanted)


@given(st.lists(st.text(max_size=30), min_size=1, max_size=5), strengths, st.none() | st.text(min_size=1, max_size=9))
def test_garbage_is_a_known_error_or_nothing(expressions: list[str], strength: float, model: str | None) -> None:
    """Whatever is asked, the outcome is a plan, InvalidDomains, UnknownDomain or UnknownModelError."""
    snapshot = Snapshot((attributes("a", {"x": None, "y": "g", "z": "g"}),))
    try:
        outcome: Plan | str = plan(expressions, snapshot, model=model, strength=strength)
    except (InvalidDomains, UnknownDomain, UnknownModelError) as error:
        outcome = str(error)
    assert len(outcome.steps) == 1 if isinstance(outcome, Plan) else len(outcome) < 400


@given(st.text(alphabet="ab-_:*.,0159e+ \t\u0661\u00a0", max_size=20))
def test_almost_right_expressions_parse_or_are_invalid(expression: str) -> None:
    """Text made of the grammar's own characters parses to terms that survive, or is `invalid-domains`."""
    try:
        outcome: tuple[Term, ...] | str = parse([expression])
    except InvalidDomains as error:
        outcome = error.code
    assert outcome in ("*", "invalid-domains") or parse([str(term) for term in outcome]) == outcome


@pytest.mark.parametrize(
    ("expression", "term"),
    [
        ("blond", Term("blond")),
        (" - Blond_Hair : 0.5 ", Term("blond-hair", True, 0.5)),
        ("x:2", Term("x", False, 2.0)),
        ("x:.5", Term("x", False, 0.5)),
        ("x:1.", Term("x", False, 1.0)),
        ("x:1e-1", Term("x", False, 0.1)),
        ("x:0", Term("x", False, 0.0)),
    ],
)
def test_well_formed_terms(expression: str, term: Term) -> None:
    """Signs, spellings and numbers mean what the contract says."""
    assert parse([expression]) == (term,)


@pytest.mark.parametrize(
    "expression",
    [
        *["", ",", " ", "-", ":1", "x,", ",x", "x,,y", "x,x", "x,-x", "X_y,x y", "--x", "- -x"],
        *["x:", "x:y", "x:-1", "x:2.1", "x:nan", "x:inf", "x:1_0", "x:0x1", "x:\u0661", "x:1:1", "x:1e999"],
        *["-*", "*:1", "*,x", "x,*", "*,*", "**"],
    ],
)
def test_malformed_expressions_are_invalid(expression: str) -> None:
    """Everything outside of the grammar is refused as invalid-domains."""
    with pytest.raises(InvalidDomains):
        parse([expression])


def test_no_expression_at_all_is_invalid() -> None:
    """An empty list is told to name a domain."""
    with pytest.raises(InvalidDomains, match="name at least one"):
        parse([])


@given(
    st.sampled_from([(name, spelling) for name, all_of_it in SPELLINGS.items() for spelling in all_of_it]),
    st.sampled_from(["-", "_", " ", "  ", "_-"]),
    st.data(),
)
def test_any_case_and_separator_finds_the_domain(
    store: Snapshot, pair: tuple[str, str], separator: str, data: st.DataObject
) -> None:
    """Names and aliases are matched in any case and with any separators, and resolve to the bundle's own name."""
    name, spelling = pair
    upper = data.draw(st.lists(st.booleans(), min_size=len(spelling), max_size=len(spelling)))
    cased = "".join(letter.upper() if up else letter.lower() for letter, up in zip(spelling, upper, strict=True))
    made = plan([cased.replace("_", separator)], store)
    assert shape(made) == [("toy", "generator", [name])]


# --- plans


def test_an_unknown_name_lists_the_known_and_the_nearest(store: Snapshot) -> None:
    """The error carries every known domain, and the domain whose name or alias is spelt most alike."""
    with pytest.raises(UnknownDomain) as caught:
        plan(["smiling,blondee"], store)
    error = caught.value
    assert (error.code, error.nearest) == ("unknown-domain", "blond")
    assert error.known == ("zebra", "horse", *COLUMNS)
    assert "did you mean 'blond'" in str(error)
    with pytest.raises(UnknownDomain) as caught:
        plan(["xyzzy"], store)
    assert caught.value.nearest is None


@given(st.text("abdeghilmnorsz-", min_size=1, max_size=12))
def test_the_nearest_spelling_is_difflibs(store: Snapshot, name: str) -> None:
    """What is suggested is one of the known names, and only if difflib finds a close match."""
    spellings = [
        spelling for bundle in store.bundles for domain in bundle.manifest.domains for spelling in domain.spellings
    ]
    if not canonical(name) or canonical(name) in spellings or name.startswith("--"):
        return
    with pytest.raises(UnknownDomain) as caught:
        plan([f"-{name}" if name[0] != "-" else name], store)
    assert caught.value.code == "unknown-domain"
    close = difflib.get_close_matches(canonical(name), spellings, n=1)
    assert (caught.value.nearest is not None) == bool(close)
    assert caught.value.nearest is None or caught.value.nearest in caught.value.known


def test_a_model_knows_only_its_own_domains(store: Snapshot) -> None:
    """With `model`, names of other bundles are unknown, and the known ones are the model's."""
    with pytest.raises(UnknownDomain) as caught:
        plan(["zebra"], store, model="toy@1")
    assert caught.value.known == COLUMNS


def test_an_unknown_model_lists_those_that_translate(store: Snapshot) -> None:
    """A model that is not there, in that version, or does not translate, is an UnknownModelError."""
    scorer = Bundle(Path("scorer"), store.bundles[0].manifest.model_copy(update={"name": "scorer", "task": "score"}))
    for model in ("nothing", "toy@2", "scorer"):
        with pytest.raises(UnknownModelError) as caught:
            plan(["blond"], Snapshot((*store.bundles, scorer)), model=model)
        assert caught.value.known == ("flip", "toy")
        assert "flip, toy" in str(caught.value)
        assert ("of 'toy' there is version 1" in str(caught.value)) == (model == "toy@2")


def test_the_first_bundle_that_knows_all_names_is_chosen() -> None:
    """One bundle for everything wins over a higher-ranked one that knows only some."""
    some, everything, later = (
        attributes("some", {"x": None}),
        attributes("everything", {"y": None, "x": None}),
        attributes("later", {"x": None, "y": None}),
    )
    snapshot = Snapshot((some, everything, later))
    assert shape(plan(["x,y"], snapshot)) == [("everything", "generator", ["x", "y"])]
    assert shape(plan(["x"], snapshot)) == [("some", "generator", ["x"])]
    assert shape(plan(["x"], snapshot, model="later")) == [("later", "generator", ["x"])]


def test_several_bundles_work_in_the_order_written(store: Snapshot) -> None:
    """Where no bundle knows all names, the steps follow the text, and neighbours of one bundle are one step."""
    made = plan(["smiling:0.5,blond", "zebra", "-glasses"], store)
    assert shape(made) == [
        ("toy", "generator", ["smiling:0.5", "blond"]),
        ("flip", "zebra", ["zebra"]),
        ("toy", "generator", ["-glasses"]),
    ]
    assert not made.sheet


def test_a_plan_prefers_to_stay_with_a_bundle() -> None:
    """A name that several bundles know goes to the bundle of the name before it, else to the first-ranked."""
    snapshot = Snapshot((attributes("a", {"x": None, "y": None}), attributes("b", {"x": None, "z": None})))
    assert shape(plan(["z,x,y"], snapshot)) == [("b", "generator", ["z", "x"]), ("a", "generator", ["y"])]


def test_every_fixed_target_is_a_step_of_its_own(store: Snapshot) -> None:
    """In a bundle with a graph for each domain, the terms are steps in the order written."""
    assert shape(plan(["horse,zebra:0.5"], store)) == [
        ("flip", "horse", ["horse"]),
        ("flip", "zebra", ["zebra:0.5"]),
    ]


def test_a_contact_sheet_is_one_step_without_terms(store: Snapshot) -> None:
    """`*` means every domain of the model named, or of the first-ranked that translates."""
    assert plan(["*"], store) == Plan((Step(store.bundles[0], "zebra", ()),), sheet=True)
    toy = store.get("toy")
    assert toy is not None
    assert plan(["*"], store, model="toy") == Plan((Step(toy, "generator", ()),), sheet=True)
    assert code_of(["*"], Snapshot()) == "invalid-domains"


@pytest.mark.parametrize(
    "expression",
    [
        "black,blond",
        "black,zebra,blond",
        "blond,blonde",
        "gray,-grey",
        "-zebra",
        "-black,-blond,-brown,-grey",
    ],
)
def test_contradictions_are_invalid(store: Snapshot, expression: str) -> None:
    """Two of a group, one domain by two names, taking away a fixed target, and an emptied group are refused."""
    assert code_of([expression], store) == "invalid-domains"


@given(st.lists(st.sampled_from(COLUMNS), unique=True, min_size=1), st.data())
def test_groups_exclude_each_other_always(store: Snapshot, chosen: list[str], data: st.DataObject) -> None:
    """A plan exists exactly if at most one hair colour is asked for and not all of them are taken away."""
    negated = [data.draw(st.booleans()) for _ in chosen]
    expression = [f"{'-' if no else ''}{name}" for name, no in zip(chosen, negated, strict=True)]
    wanted = [name for name, no in zip(chosen, negated, strict=True) if name in HAIR and not no]
    gone = [name for name, no in zip(chosen, negated, strict=True) if name in HAIR and no]
    if len(wanted) > 1 or len(gone) == len(HAIR):
        assert code_of(expression, store) == "invalid-domains"
    else:
        assert shape(plan(expression, store)) == [("toy", "generator", expression)]


@given(strengths, strengths)
def test_strengths_multiply_and_stay_below_two(store: Snapshot, term: float, request: float) -> None:
    """Each term's strength is multiplied by the request's, and a product above 2 is refused."""
    if term * request > 2:
        assert code_of([f"blond:{term!r}"], store, strength=request) == "invalid-domains"
    else:
        (step,) = plan([f"blond:{term!r}"], store, strength=request).steps
        assert step.terms == (Term("blond", False, term * request),)
