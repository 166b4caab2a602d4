"""The papers' losses as pure functions, each with its equation, and the augmentations of a critic's pictures."""
