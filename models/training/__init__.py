"""The loop and what it keeps: options, checkpoints, run folder, history; it knows phases, not GANs."""
