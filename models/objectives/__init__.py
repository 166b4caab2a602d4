"""The papers' losses as pure functions, tensors to a scalar or to one for each picture; each states its equation."""
