"""Blocks that several methods are made of. They take numbers and tensors, never params, and know nothing of corpora."""
