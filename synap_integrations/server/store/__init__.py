"""Turns, and what happened besides, as rows; and how they are forgotten, completely."""
