"""Finished students in, the report's content out: files written, measured, tested, judged against each other."""
