"""The deployments. Each is a class in a module of its own, and ``table.py`` lists them all."""
