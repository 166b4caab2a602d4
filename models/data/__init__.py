"""Pictures to learn from: readers of data sets, and generators of sets that the project can draw by itself."""
