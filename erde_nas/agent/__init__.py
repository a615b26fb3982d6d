"""What runs where latency is measured: a process of its own that loads students, times them and prints JSON.

It needs numpy and the runtime alone, and imports nothing of erde-nas but `erde_nas.runtimes`, so that both fit into one
file for another machine.
"""
