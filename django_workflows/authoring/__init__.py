"""What people write: workflows and steps, what their bodies may ask for, and the seams to what runs them. No model.

::

    registry                    names ─▶ definitions, for workers, doors and checks
    steps  workflows            @step, @workflow: calling them, starting runs
    primitives  model_refs      sleep(), hooks, streams, metadata; references to rows of the project
    definitions  handles        what steps and workflows share; a run by its id
    http  schedules             requests and answers of webhooks; cron() and every()
    runtime  client             the seams: what runs the caller, and what starts and watches runs
    options  signatures         start options and attributes, checked; signatures of webhooks

Imports go down. Where a lower module has to name what stands above, it has a small protocol of its own
(``runtime.CallableStep``) or a type parameter (``client.Client``). The engine and the workers implement ``Runtime``;
``api`` installs the ``Client``.
"""
