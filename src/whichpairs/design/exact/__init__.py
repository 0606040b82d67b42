"""The same bits on any number of threads: products of rows, work in order."""
