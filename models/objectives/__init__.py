"""The papers' losses as pure functions, tensors to scalar; each states its equation, source and deviations."""
