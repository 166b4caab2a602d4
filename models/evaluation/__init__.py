"""Figures, tables and pictures of how good a model is, on held-out pictures."""
