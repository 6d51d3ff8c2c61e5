"""Missing data: the patterns that decide what is absent, and the bank of masks that every method is scored on."""
