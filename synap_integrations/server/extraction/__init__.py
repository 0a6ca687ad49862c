"""A chat model of the application that reads along, and notes what users say about themselves."""
