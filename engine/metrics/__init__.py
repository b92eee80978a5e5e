"""What is measured: one table of every metric, a collector that reads the board, a page and a file of it."""
