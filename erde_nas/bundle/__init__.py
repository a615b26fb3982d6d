"""A student of a run in, the folder to ship out: its files, a runner, a model card."""
