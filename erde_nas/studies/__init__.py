"""Where trials are kept: in the run folder for one search, or in a database for several (an Optuna study each)."""
