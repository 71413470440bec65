"""The deployments: ``table.py`` lists them all, and ``deployment.py`` has the Protocol that each follows.

Each is a class in a module of its own: ``host``, ``docker_run``, ``docker_host_network``, ``compose``, ``swarm``. The
other modules are what several of them use.
"""
