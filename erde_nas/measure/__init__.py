"""Measurement: MACs, the exit rule's operating points, and latency on the deployable file."""
