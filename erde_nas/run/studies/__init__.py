"""A trial in, kept: in the run's folder for one search, or in a database for several."""
