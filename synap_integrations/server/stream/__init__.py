"""One ``Listen`` call, without I/O of its own."""
