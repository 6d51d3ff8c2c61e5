"""Splits: lists of ids, with a proof of who is in which part."""
