"""A worker process's links to the world: two sessions with the database, and its supervisor.

::

    turn ──▶ connection   the advancing connection, lent to the thread that has the turn; the database's clock
                └▶ prepared   its statements, prepared once and sent straight through libpq

    main loop ◀── doorbell   LISTEN, and the advisory lock that shows others that this process lives

    children ◀── forks   what a process closes before it forks, and what a child of it forgets

    supervisor ◀── watchdog   shared memory: in which run a body computes, and since when
"""
