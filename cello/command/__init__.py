"""The command ``cello``: run, dev, routes, check and version."""
