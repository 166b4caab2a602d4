"""Bundles out of networks: graphs, their comparison with PyTorch, and the model card."""
