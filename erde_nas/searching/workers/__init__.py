"""A proposal in, its trial out: evaluated in this process, in several on this machine, or on a cluster."""
