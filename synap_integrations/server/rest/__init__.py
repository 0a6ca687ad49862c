"""The REST surface without a framework."""
