"""Compression: structured pruning of trained students, and static int8 quantization of their exported segments."""
