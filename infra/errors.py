"""What keeps a deployment, or an experiment, from running."""


class DeploymentError(Exception):
    """A deployment can't run here, did not start, or broke. The message says what, the evidence, and the remedy."""


class PlanError(Exception):
    """A plan that can't be carried out. The message says where it stands, which value, and what would be right."""


class ResumeError(Exception):
    """An experiment that can't be continued. The message says why not, and what to do."""
