"""Databases as old releases wrote them, and the proof that today's code goes on with them."""
