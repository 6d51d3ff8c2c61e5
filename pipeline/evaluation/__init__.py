"""Metrics, curves and intervals: arrays in, numbers out; `facts` and `scores` tie them to a benchmark's predictions."""
