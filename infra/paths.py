"""Where this checkout lies, where the user's work lies, and how the commands of infra are called."""

from runfiles.places import INFRA, IS_INSTALLED, ROOT, STATE, WORK

__all__ = ["INFRA", "IS_INSTALLED", "ROOT", "STATE", "WORK"]
