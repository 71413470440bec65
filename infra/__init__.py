"""Starts and removes the deployments of the service, and runs the experiment that measures them."""
