"""The deployments: how each is started and removed, and what they share."""
