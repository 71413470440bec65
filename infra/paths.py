"""Where this checkout lies, where the user's work lies, and how the commands of infra are called."""

from runfiles.places import INFRA, IS_IN_CONTAINER, IS_INSTALLED, RESULTS, ROOT, STATE, WORK

__all__ = ["INFRA", "IS_INSTALLED", "IS_IN_CONTAINER", "RESULTS", "ROOT", "STATE", "WORK"]
