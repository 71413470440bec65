"""Load and measurement on the nodes of a swarm."""
