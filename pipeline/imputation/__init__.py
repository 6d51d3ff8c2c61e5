"""Fillers: what stands in for a modality that is missing at test time; one module per family, named by `params`."""
