"""What users said about themselves: found by strict patterns, with the days that they name."""
