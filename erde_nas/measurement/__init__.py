"""Deployable files and a hardware profile in, latencies with their uncertainty out, from here or over SSH."""
