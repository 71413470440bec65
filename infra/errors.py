"""What keeps a deployment from running."""


class DeploymentError(Exception):
    """A deployment can't run here, did not start, or broke. The message says what, the evidence, and the remedy."""
