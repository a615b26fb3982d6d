"""A network in, ONNX files out: its segments, nested in one file that stops early, in fp32 or int8, checked."""
