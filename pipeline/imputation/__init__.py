"""Fillers: what stands in for a modality that is missing at test time. Fitted on training data only."""
