"""Context in prompts: beside what the user said, in a copy that only the model sees."""
