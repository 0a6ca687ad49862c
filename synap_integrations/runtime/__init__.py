"""Synap: builds the parts and wires them; and the one that a process shares."""

from .borrowed import memory_over
from .environment import capturing, environment_scope, recent_attributions
from .late import note_late_run
from .process import check_settings, default_synap, flush, status, use_default
from .reports import Forgotten, Status
from .synap import Synap

__all__ = [
    "Forgotten",
    "Status",
    "Synap",
    "capturing",
    "check_settings",
    "default_synap",
    "environment_scope",
    "flush",
    "memory_over",
    "note_late_run",
    "recent_attributions",
    "status",
    "use_default",
]
