"""Training: one loop for every network, the regimes that say what it drops, jobs per fold and seed."""
