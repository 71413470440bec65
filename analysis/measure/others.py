"""What other programs and the hypervisor took of the machine's CPU in some blocks."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

LIMIT_PERCENT = 30.0
"""A block is disturbed if they took more than this in its measured part (100 = one core): the load generator has the
same limit."""
MOST_DISTURBED = 0.5
"""If more than this share of some blocks was disturbed, what they show may be the doing of other programs."""
CLOSE_OTHERS = "close other programs and measure again"


@dataclass(frozen=True)
class Others:
    """``disturbed`` of ``blocks`` were disturbed; in one of them others took ``most_percent`` of a core."""

    disturbed: int
    blocks: int
    most_percent: float

    @property
    def took_most(self) -> bool:
        """Whether most of the blocks were disturbed."""
        return self.disturbed > MOST_DISTURBED * self.blocks

    def said(self, blocks: str = "blocks") -> str:
        """``other programs or the hypervisor took up to 190% of a core in 5 of 6 blocks``; of a single one not in how
        many. ``blocks``: what they are called."""
        where = f" in {self.disturbed} of {self.blocks} {blocks}" if self.blocks > 1 else ""
        return f"other programs or the hypervisor took up to {self.most_percent:.0f}% of a core{where}"


def others_of(percents: Iterable[float]) -> Others:
    """What others took in blocks, each of which has its percentage. NaN: it is not known, so the block is undisturbed
    as far as is known."""
    told = [*percents]
    disturbed = [percent for percent in told if percent > LIMIT_PERCENT]
    return Others(len(disturbed), len(told), max(disturbed, default=0.0))
