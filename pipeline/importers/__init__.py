"""One module per community feature file format: how features made by others become a manifest and feature stores."""
