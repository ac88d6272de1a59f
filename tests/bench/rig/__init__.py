"""The overhead benchmark: see ../run for what it measures and README.md for why in this way."""
