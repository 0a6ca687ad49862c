"""What the callbacks of all runs amount to: who said what in which conversation, and what happened in between."""
