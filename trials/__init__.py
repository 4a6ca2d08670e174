"""Load, kills and outages on real worker processes: ``python -m trials`` (``make trials``).

Each trial is a module with ``run(world) -> Report``. ``world`` brings a PostgreSQL of its own, workers as subprocesses, a
proxy between the two, and one seed from which everything random is drawn; at the end every run's log is verified.
"""
