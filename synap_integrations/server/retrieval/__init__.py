"""Which turns answer a question: by words, by meaning, newer ones a little first."""
