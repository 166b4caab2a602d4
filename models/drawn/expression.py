"""How an expression moves eyes and brows: what the drawing of a face adds to its usual points, in the face's units.

The neutral and the happy face add nothing above the lower lids. Mouths have shapes of their own, in `mouth.py`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from models.drawn.person import Person

Three = tuple[float, float, float]


@dataclass(frozen=True)
class Expression:
    """One side's lids and brow. Threes run from the nose outward; positive is down, as in the picture."""

    lid: Three = (0.0, 0.0, 0.0)
    floor: float = 2.9  # the lower lid below the eye's middle
    brow: Three = (0.0, 0.0, 0.0)
    together: float = 0.0  # how far the brow's inner end goes to the nose
    iris: float = 1.0
    gaze: tuple[float, float] = (0.0, 0.0)
    heavy: float = 0.0  # how visible the upper lid is, 0 to 1


_EXPRESSIONS: dict[str, Expression] = {
    "neutral": Expression(),
    "happy": Expression(floor=1.5),
    "sad": Expression(lid=(0.2, 1.0, 1.9), floor=2.6, brow=(-4.2, 0.4, 3.0), gaze=(0.0, 0.7), heavy=0.7),
    "angry": Expression(lid=(2.5, 1.5, 0.2), floor=2.2, brow=(4.2, 3.4, -1.4), together=2.4, iris=0.92),
    "surprised": Expression(lid=(-1.2, -1.8, -1.5), floor=4.0, brow=(-3.6, -6.4, -2.6), iris=0.86),
    "fearful": Expression(lid=(-1.2, -1.6, -0.4), floor=3.6, brow=(-5.0, -2.6, 0.6), together=1.8, iris=0.70),
    "disgusted": Expression(lid=(1.6, 1.7, 1.0), floor=1.3, brow=(3.0, 2.6, 1.0), together=1.6, heavy=0.5),
    "contemptuous": Expression(lid=(1.2, 1.7, 1.4), floor=2.3, brow=(1.2, 2.2, 1.2), heavy=1.0),
}
_RAISED = replace(_EXPRESSIONS["contemptuous"], brow=(-1.6, -5.4, -1.6), lid=(0.8, 1.2, 1.0))


def scornful_side(person: Person) -> int:
    """The side, -1 or 1, on which contempt raises brow and corner of the mouth."""
    return person.parting


def expression(person: Person, side: int) -> Expression:
    """The expression of the eye and brow on a side, -1 or 1; only contempt has two."""
    name = person.attributes.expression
    if name == "contemptuous" and side == scornful_side(person):
        return _RAISED
    return _EXPRESSIONS[name]
