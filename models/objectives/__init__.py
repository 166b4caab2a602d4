"""The papers' losses as pure functions, tensors to a scalar or to one for each picture; each states its equation.

What is done to pictures before a critic judges them is here too.
"""
