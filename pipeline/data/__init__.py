"""The types that pass between stages: manifest, decoded streams, feature stores, dataset, batch, predictions."""
