"""Client and worker processes of the engines. The orchestrator speaks to a client in JSON lines, see ``protocol``."""
