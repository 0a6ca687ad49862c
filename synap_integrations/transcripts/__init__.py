"""Conversations of the past, as other programs keep them in files, read as our events. Pure but for opening the file.

`formats` is the table of readers; a new format is one module with a `Reader` and one row there.
"""
