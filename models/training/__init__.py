"""Trainings: their start, loop, steps, processes, run folder and history; it knows phases, not GANs."""
