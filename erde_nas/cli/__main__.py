"""python -m erde_nas.cli: the command line, where the entry point is not installed."""

from erde_nas.cli.app import main

main()
