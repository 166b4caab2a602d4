"""Figures of a trained model: an independent judge of domains, picture metrics, and a report to look at."""
