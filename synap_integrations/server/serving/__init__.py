"""A local Synap on ports: HTTP and gRPC on one event loop, and who is let in."""
