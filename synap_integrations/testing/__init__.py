"""For us and for the people who use us: fakes and contracts for tests that need no platform."""

from .fakes import FakeMemory

__all__ = ["FakeMemory"]
