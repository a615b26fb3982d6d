"""A job and its files in, timings out as JSON, from a process of its own."""
