"""What a change of code would hurt, seen before it is deployed: in bodies, in settings, for the runs under way.

::

    sources       a function's syntax tree with its lines; which functions belong to its project   the one reader of code
    names         what a name in that tree stands for: "datetime.datetime.now", a step, a module
    rules         which names a body must not use, and what to use instead
    lint          one body and the functions that it calls, held to the rules ──▶ LintWarning
    references    the steps, children and patches that a body refers to
    surface       names, signatures and references of all definitions: what a lock file holds
    lock_changes  how the code differs from a lock file, and which runs that concerns ──▶ LockDrift
    lockfile      writing, reading and checking ``workflows.lock``; the system checks W030 and W031
    lint_check    the linter's warnings as system checks W010 and on
    checks        system checks of settings, database and definitions

Nothing here imports or calls what it reads about: names are looked up in modules that are loaded already.
"""
