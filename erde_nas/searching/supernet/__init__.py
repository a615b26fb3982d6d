"""A space in, one trained network per family out, of which every candidate is a slice."""
