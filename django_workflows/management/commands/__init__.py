"""Where Django looks for management commands: ``workflows`` is the only one."""
