"""The write path that appends changes, as a model of which every order of steps is tried.

One session, one primary, backups, workers that read and write it, and faults. ``records.py`` is
what copies hold, ``programs.py`` what workers do (``storage/fast_path.py`` in short),
``world.py`` nodes, faults and what must hold, ``scenarios.py`` what is played and the bugs that
must be found. ``python -m tests.model.appending --help`` searches for longer than a test may.
"""
