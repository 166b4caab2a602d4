"""Domain expressions (`blond,-smiling:0.5`): turns a wish into a plan, and each step of a plan into a label vector.

What a name means depends on the bundle that the plan picks.
"""

import difflib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from models.bundle.archive import Bundle
from models.bundle.labels import columns_of, own_labels
from models.bundle.manifest import Domain, Manifest, canonical
from models.bundle.store import Snapshot
from worker.errors import InvalidDomains, UnknownDomain, UnknownModelError
from worker.wish import STRONGEST, Wish

# float() would also take nan, inf and 1_000.
_NUMBER = re.compile(r"([0-9]+\.?[0-9]*|\.[0-9]+)(e[+-]?[0-9]+)?", re.IGNORECASE)
_LONGEST_NAME = 64  # characters of a name that an error repeats


@dataclass(frozen=True)
class Term:
    """One requested domain: `[-]name[:strength]`; `str()` writes it in that form."""

    name: str
    negated: bool = False
    strength: float = 1.0

    def __str__(self) -> str:
        strength = "" if self.strength == 1 else f":{self.strength!r}"
        return f"{'-' if self.negated else ''}{self.name}{strength}"


@dataclass(frozen=True)
class Step:
    """One run of one graph; the terms' names are the bundle's own."""

    bundle: Bundle
    graph: str
    terms: tuple[Term, ...]


@dataclass(frozen=True)
class Plan:
    """What to do to a picture, in order.

    A contact sheet (`sheet`) is one step without terms; its graph is the first domain's, others may differ.
    """

    steps: tuple[Step, ...]
    sheet: bool = False
    detector: Bundle | None = None
    """What finds the faces, where they are translated one by one."""


def parse(expressions: Sequence[str]) -> tuple[Term, ...] | Literal["*"]:
    """The terms of repeated parameters and comma lists alike; `*` is a contact sheet. Raises only InvalidDomains."""
    texts = [text.strip() for expression in expressions for text in expression.split(",")]
    if texts == ["*"]:
        return "*"
    if not any(texts):
        raise InvalidDomains("no domain is asked for; name at least one, such as domains=blond")
    terms = tuple(_term(text) for text in texts)
    _refuse_repeats(term.name for term in terms)
    return terms


def plan(wish: Wish, snapshot: Snapshot) -> Plan:
    """Which bundles carry out the wish, in which order.

    Without `wish.model` it is the first-ranked bundle that knows all names. If none knows them all, several bundles
    work one after the other, in the order of the names.

    Raises InvalidDomains, UnknownDomain and UnknownModelError.
    """
    bundles = tuple(bundle for bundle in snapshot.bundles if bundle.manifest.task == "translate")
    if wish.model is not None:
        named = snapshot.get(wish.model)
        if named not in bundles:
            known = tuple(dict.fromkeys(bundle.name for bundle in bundles))
            there = ", ".join(known) or "none"
            message = f"there is no model {_short(wish.model)!r} that translates; there are: {there}"
            name = wish.model.partition("@")[0]
            if versions := [bundle.version for bundle in bundles if bundle.name == name]:
                message += f"; of {name!r} there is version {', '.join(versions)}"
            raise UnknownModelError(message, known=known)
        bundles = (named,)
    terms = parse(wish.domains)
    if terms == "*":
        if not bundles:
            raise InvalidDomains("there is no model that translates, so no contact sheet can be made")
        return Plan((Step(bundles[0], bundles[0].manifest.domains[0].graph, ()),), sheet=True)
    scaled = [Term(term.name, term.negated, _in_range(term.strength * wish.strength, str(term))) for term in terms]
    choices = _assign(scaled, bundles)
    _check_bundles(choices)
    return Plan(_steps(choices))


def by_face(wish: Wish, bundle: Bundle) -> bool:
    """Whether the bundle works face by face for this wish."""
    return (bundle.manifest.region if wish.region == "auto" else wish.region) == "face"


def labels(step: Step, probabilities: NDArray[np.float32]) -> tuple[NDArray[np.float32], float]:
    """The label vector float32 [c + masks] of a step, in 0..1, and the pixel strength 0..2.

    `probabilities` float32 [c] are the picture's own (zeros where there is no classifier). The pixel strength is that
    of the strongest term, for the caller to apply: x + strength * (G(x) - x); weaker terms move their labels only part
    of the way. With a strength of 0 there is nothing to do.
    """
    manifest = step.bundle.manifest
    vector = own_labels(manifest, probabilities)
    strongest = max((term.strength for term in step.terms), default=0.0)
    # A unit is what changes together: the columns of a group, or the one column of an attribute.
    units: dict[tuple[int, ...], dict[int, Term]] = {}
    for term in step.terms:
        domain = _domain(manifest, term.name)
        if term.strength > 0 and domain.column is not None:
            members = tuple(columns_of(manifest.groups[domain.group] if domain.group else (domain,)))
            units.setdefault(members, {})[members.index(domain.column)] = term
    for members, wanted in units.items():
        columns = list(members)
        target, strength = _target(wanted, vector[columns], probabilities[columns])
        # The picture as a whole is moved by `strongest`, so a weaker term moves its labels by its share of that.
        vector[columns] += np.float32(strength / strongest) * (target - vector[columns])
    if manifest.mask_columns:
        # As in training: labels of the data sets that the mask leaves out are zero (StarGAN, section 3.2).
        vector[~step_columns(step)] = 0
        masks = _masks(step)
        mask = np.array([name in masks for name in manifest.mask_columns], np.float32)
        vector = np.concatenate([vector, mask])
    return vector, strongest


def step_columns(step: Step) -> NDArray[np.bool_]:
    """Which label columns [c] a step sets: of jointly trained data sets, only the columns of those that it names."""
    manifest = step.bundle.manifest
    names = (manifest.find(name) for name in manifest.label_order)
    masks = _masks(step)
    return np.array([domain is not None and domain.mask in masks for domain in names], bool)


_Choice = tuple[Bundle, Domain, Term]
"""The bundle that carries out a term, its domain for that, and the term with the name of that domain."""


def _short(text: str) -> str:
    return text if len(text) <= _LONGEST_NAME else text[:_LONGEST_NAME] + "..."


def _term(text: str) -> Term:
    negated = text.startswith("-")
    written, colon, number = text.removeprefix("-").partition(":")
    name = canonical(written)
    if not name or "*" in name or (negated and written.strip().startswith("-")):
        raise InvalidDomains(f"{_short(text)!r} is not of the form [-]name[:strength]; '*' stands alone")
    if not colon:
        return Term(name, negated)
    if not _NUMBER.fullmatch(number.strip()):
        raise InvalidDomains(f"the strength of {_short(text)!r} must be a number from 0 to {STRONGEST:g}")
    return Term(name, negated, _in_range(float(number), text))


def _in_range(strength: float, text: str) -> float:
    if not 0 <= strength <= STRONGEST:
        raise InvalidDomains(f"{_short(text)!r} has a strength of {strength:g}; it must lie from 0 to {STRONGEST:g}")
    return strength


def _refuse_repeats(names: Iterable[str]) -> None:
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise InvalidDomains(f"{_short(name)!r} is asked for twice; name each domain once")
        seen.add(name)


def _assign(terms: Sequence[Term], bundles: Sequence[Bundle]) -> list[_Choice]:
    knowing = [[bundle for bundle in bundles if bundle.manifest.find(term.name)] for term in terms]
    for term, able in zip(terms, knowing, strict=True):
        if not able:
            domains = [domain for bundle in bundles for domain in bundle.manifest.domains]
            spellings = {spelling: domain.name for domain in domains for spelling in domain.spellings}
            # Cut off, since the comparison takes quadratic time and the name may be as long as a URL.
            close = difflib.get_close_matches(term.name[:_LONGEST_NAME], spellings, n=1)
            nearest = spellings[close[0]] if close else None
            known = tuple(dict.fromkeys(domain.name for domain in domains))
            hint = f"; did you mean {nearest!r}?" if nearest else "."
            message = f"there is no domain {_short(term.name)!r}{hint} Known: {', '.join(known) or 'none'}"
            raise UnknownDomain(message, known=known, nearest=nearest)
    alone = next((bundle for bundle in knowing[0] if all(bundle in able for able in knowing)), None)
    choices: list[_Choice] = []
    for term, able in zip(terms, knowing, strict=True):
        former = choices[-1][0] if choices else None
        # Staying with the last bundle may save a pass, which costs time and some sharpness.
        bundle = alone or (former if former in able else None) or able[0]
        domain = _domain(bundle.manifest, term.name)
        choices.append((bundle, domain, Term(domain.name, term.negated, term.strength)))
    return choices


def _domain(manifest: Manifest, name: str) -> Domain:
    domain = manifest.find(name)
    if domain is None:
        raise InvalidDomains(f"{manifest.ref} has no domain {_short(name)!r}")
    return domain


def _check_bundles(choices: Sequence[_Choice]) -> None:
    for bundle in dict.fromkeys(bundle for bundle, _, _ in choices):
        own = [(domain, term) for other, domain, term in choices if other == bundle]
        _refuse_repeats(domain.name for domain, _ in own)
        for domain, term in own:
            if term.negated and domain.column is None:
                raise InvalidDomains(f"{bundle.ref} cannot take {domain.name!r} away; ask for it without '-'")
        for group, members in bundle.manifest.groups.items():
            wanted = [(domain, term) for domain, term in own if domain.group == group]
            positive = [domain.name for domain, term in wanted if not term.negated]
            if len(positive) > 1:
                raise InvalidDomains(
                    f"{positive[0]!r} and {positive[1]!r} exclude each other (group {group!r}); choose one"
                )
            if not positive and len(wanted) == len(members):
                raise InvalidDomains(f"all of group {group!r} are taken away; leave at least one of them")


def _steps(choices: Sequence[_Choice]) -> tuple[Step, ...]:
    steps: list[Step] = []
    kinds: list[tuple[Bundle, str, str | None]] = []
    begin = 0  # the first step of the last graph; its steps differ in their mask, and each collects the terms of one
    for bundle, domain, term in choices:
        kind = (bundle, domain.graph, domain.mask)
        if kinds and kinds[-1][:2] != kind[:2]:
            begin = len(steps)
        # A domain without a column is a fixed target of its graph, which needs a pass for itself.
        if domain.column is not None and kind in kinds[begin:]:
            place = kinds.index(kind, begin)
            steps[place] = Step(bundle, domain.graph, (*steps[place].terms, term))
        else:
            steps.append(Step(bundle, domain.graph, (term,)))
            kinds.append(kind)
    return tuple(steps)


def _target(
    wanted: dict[int, Term], own: NDArray[np.float32], likely: NDArray[np.float32]
) -> tuple[NDArray[np.float32], float]:
    """The labels of a unit at full strength, and that strength; `wanted` has terms by their place in the unit."""
    target = own.copy()
    for place, term in wanted.items():
        if not term.negated:
            target[:] = 0
            target[place] = 1
            return target, term.strength
    target[list(wanted)] = 0
    if len(target) > 1 and not target.any():
        # One label of a group must hold: the likeliest one that was not taken away.
        left = [place for place in range(len(target)) if place not in wanted]
        target[max(left, key=lambda place: float(likely[place]))] = 1
    return target, max(term.strength for term in wanted.values())


def _masks(step: Step) -> set[str | None]:
    return {_domain(step.bundle.manifest, term.name).mask for term in step.terms}
