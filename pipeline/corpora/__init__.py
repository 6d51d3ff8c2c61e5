"""One module per corpus: how its owner's layout becomes a manifest."""
