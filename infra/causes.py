"""Why things were not measured, in lines for people: each cause once."""

from __future__ import annotations

from runfiles.lines import is_alike


class Causes:
    """The causes that were told so far, and whom each hit first."""

    def __init__(self) -> None:
        self._told: list[tuple[str, str]] = []

    def first_hit(self, reason: str) -> str | None:
        """Whom the cause of this reason hit first. None if it was not told yet."""
        return next((who for who, told in self._told if is_alike(told, reason)), None)

    def tell(self, who: str, status: str, reason: str) -> str:
        """A line that says that ``who`` has this status, and why; or like whom, if that was told before."""
        first = self.first_hit(reason)
        if first is not None:
            return f"{who}: {status} for the same reason as {first}"
        self._told.append((who, reason))
        return f"{who}: {status}: {reason}"
