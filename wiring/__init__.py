"""Puts models, worker and service together; with recast.py, whose commands call it, where the packages meet."""
