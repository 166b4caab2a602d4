"""The bundle format, without torch or onnxruntime; import from its modules, as nothing is re-exported here."""
