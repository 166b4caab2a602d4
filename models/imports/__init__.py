"""Imports checkpoints of reference implementations, and ONNX files, as bundles: one file a publisher."""
