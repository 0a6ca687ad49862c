"""What is handed over in one piece, kept as turns of a conversation of its own."""
