"""Puts every process together from its parts, which begin in one order and are closed in the reverse of it."""
