"""What the callbacks of all runs amount to: who said what in which conversation, and what happened in between.

From the top down, in the order in which they import one another:

- ``tracker``: one method for each kind of hook, and the picture of what a root goes through.
- ``starting``: where a run that starts belongs. ``scope_resolver``: who is talking. ``ending``: what is the answer.
- ``roots``, ``runs``: the state of one turn and what it records; the tree of runs, bounded.
- ``conversations``: what is remembered from turn to turn, so that nothing is recorded twice.
- ``apart``, ``translate``, ``steps``: pure; whether a run inside a turn is somebody else's, how a turn begins and ends,
  and what happens in between. ``tools``: which result answers which call.
"""
