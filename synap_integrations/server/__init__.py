"""A local Synap: engine, store and the two handlers of the wire, to be embedded or exposed on ports."""
