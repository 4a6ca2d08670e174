"""The public benchmarks: this engine, its peers and the floor, on one durable PostgreSQL, in one run.

``python -m benchmarks`` measures, ``docs/benchmarks.md`` says how and what came out. Who does what:

* ``__main__``   what was asked for, in which order: engines alternate, repetition by repetition
* ``catalogue``  the workloads by name; each asks a driver, and gives figures
* ``stage``      one engine on the server: a fresh database, its worker processes, its client process
* ``drivers/``   the client and the worker of each engine: processes of their own, spoken to in JSON lines
* ``floor``      what the database and the drivers cost before any engine
* ``report``     medians, spreads and ratios; the table and the raw lines
"""
