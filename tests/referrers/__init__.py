"""An app of a project whose models refer to runs."""
