"""Words of a command line in, calls of the library, their results printed."""
