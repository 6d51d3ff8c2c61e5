"""What extractors share: the runner, weights, networks in batches, and the packages that several of them call."""
