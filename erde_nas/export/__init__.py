"""One deployable ONNX file per student, with real control flow: a segment after a taken exit never runs."""
