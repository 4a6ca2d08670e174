"""The command line: ``manage.py workflows …``. Each subcommand parses, calls ``api`` and renders lines of text.

::

    commands.workflows   the management command: finds the subcommand, turns errors into one sentence and exit 1
    subcommands          one module for each subject
    console              where lines go: colour and width of the terminal
    values               values, times and errors as text that is safe in a terminal
    log_lines            a log as lines, and following it while it grows
    timeline             a run as rows of a timeline       drawing      those rows in characters
"""
