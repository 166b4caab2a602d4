"""What a model does: pictures, the engine that runs bundles, and the road of one picture; nothing here needs torch."""
