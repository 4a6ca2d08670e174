"""The public benchmarks: this engine, its peers and the floor, on one durable PostgreSQL, in one run.

``python -m benchmarks`` measures; ``docs/benchmarks.md`` has the method and the results. The modules:

* ``__main__``   what to measure, in which order: engines alternate, repetition by repetition
* ``workloads/`` the workloads by name; each asks a driver and returns figures
* ``stage``      one engine on the server: a fresh database, its worker processes, its client process
* ``drivers/``   the client and the worker of each engine: separate processes that are addressed in JSON lines
* ``floor``      what the database and the drivers cost before any engine
* ``report``     medians, spreads and ratios; the table and the raw lines
"""
