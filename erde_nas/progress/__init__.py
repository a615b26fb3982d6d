"""Events of long work in, a panel, lines or a log with the time left out."""
