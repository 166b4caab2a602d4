"""Pictures: bytes to pixels and back, and the change carried to the original; nothing here runs a network."""
