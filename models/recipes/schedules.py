"""How a learning rate falls with the steps, as pure functions, so that a resumed run agrees."""


def linear(step: int, steps: int, begin: float) -> float:
    """1 for the share `begin` of `steps`, then straight down to 0 at the last one."""
    start = begin * steps
    return 1.0 if step < start else max(0.0, (steps - step) / max(steps - start, 1.0))
