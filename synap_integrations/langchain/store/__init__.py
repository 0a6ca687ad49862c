"""LangGraph's long-term store, on journals of a Synap."""
