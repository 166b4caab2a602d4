"""The errors of `models`, each with one clear line for users; programming errors stay assertions.

ModelError ─┬─ OptionsError     an option, a config file or a folder does not fit
            ├─ DataError        a data set is missing, empty or broken
            ├─ CheckpointError  a checkpoint is missing, broken or of another recipe
            ├─ RunError         a run folder can't be written, as on a full disk
            ├─ ExportError      an exported graph does not agree with the network
            └─ Diverged         a non-finite loss or weight
"""

_LISTED = 10


class ModelError(Exception):
    """The base of the errors above; the text is one line that names the value, the limit and the remedy."""


class OptionsError(ModelError, ValueError):
    """An option, a config file or a folder does not fit."""


class DataError(ModelError):
    """A data set is missing, empty or broken; `problems` holds every problem, the text lists the first ten."""

    def __init__(self, *problems: str) -> None:
        self.problems = tuple(dict.fromkeys(problems))
        listed = "; ".join(self.problems[:_LISTED])
        more = f"; and {len(self.problems) - _LISTED} more" if len(self.problems) > _LISTED else ""
        super().__init__(f"{len(self.problems)} problems: {listed}{more}" if len(self.problems) > 1 else listed)


class CheckpointError(ModelError):
    """A checkpoint is missing, broken or of another recipe."""


class RunError(ModelError):
    """A run folder can't be written, as on a full disk."""


class ExportError(ModelError):
    """An exported graph does not agree with its network."""


class Diverged(ModelError):
    """A term or a weight is not finite; `where` says which."""

    def __init__(self, step: int, where: str) -> None:
        super().__init__(
            f"training diverged at step {step}, {where}; lower the learning rate or the term's weight, "
            "then resume from the last checkpoint, or from an earlier one with --from-step"
        )
