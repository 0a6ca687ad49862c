"""Memory that is asked for on purpose: a retriever, tools of agents, a node of a graph."""
