"""What an evaluation leaves: figures, tables of them, sheets of pictures and the curves of the training.

A report shows these and knows nothing of the kind of model behind them.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from models.evaluation.figures import Value
from models.evaluation.metrics import Pixels

Curve = list[tuple[int, float]]
"""Steps and values, rising in steps."""


@dataclass(frozen=True)
class Row:
    """The figures of one thing asked for."""

    name: str
    pictures: int
    values: tuple[Value, ...]


@dataclass(frozen=True)
class Table:
    """Rows of figures; a row may lack some."""

    title: str
    note: str
    rows: tuple[Row, ...]


@dataclass(frozen=True)
class Strip:
    """Pictures of one kind, n x s x s x 3, in the order of the sheet's other strips."""

    caption: str
    pictures: Pixels


@dataclass(frozen=True)
class Sheet:
    """A contact sheet: the same pictures in several strips."""

    title: str
    note: str
    strips: tuple[Strip, ...]


@dataclass(frozen=True)
class Evaluation:
    """Everything that a report shows of one subject; `step` is the training's, 0 for a bundle."""

    subject: str
    family: str
    step: int
    pictures: int
    """Held-out pictures that were looked at."""
    values: tuple[Value, ...]
    tables: tuple[Table, ...]
    sheets: tuple[Sheet, ...]
    notes: tuple[str, ...] = ()
    """What a reader must know before the figures are believed."""
    curves: Mapping[str, Curve] = field(default_factory=dict)
    """The training's logged terms by name."""

    @property
    def metrics(self) -> dict[str, float]:
        """The figures by key, as they stand in a bundle."""
        return {value.key: value.value for value in self.values}
