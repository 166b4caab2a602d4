"""Readers of data sets: labelled, paired and unpaired pictures, and the batches made of them."""
