"""From media files to packed streams: one pass per file with PyAV, then sound, face crops and frames per utterance."""
