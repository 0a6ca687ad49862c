"""The conversation so far: as a chat history, before a prompt, and as a text."""
