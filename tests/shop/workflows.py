"""Found by autodiscovery, as any installed app's ``workflows`` module is."""
