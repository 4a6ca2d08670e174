"""The workflows whose runs are in the dumps of release 0.1.0. An app, so that they are found like any project's.

**Frozen.** The dumps hold what these bodies have decided, so a change of a body is a divergence. Workflows and steps have
explicit names; the classes of ``values`` are in the dumps by their module's path, so that module has to stay where it is.
"""
