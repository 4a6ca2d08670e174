"""The REST API and the webhooks: doors that parse, call ``api``, and render. Nothing is decided or written here."""
