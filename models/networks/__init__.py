"""One architecture a file: modules only, no losses and no files; sizes are constructor arguments."""
