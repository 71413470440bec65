"""Some rows of a frame that may have millions of them."""

from __future__ import annotations

from typing import overload

import numpy as np
import pandas as pd


class Rows:
    """Rows of a frame that do not follow each other. Each column is copied when it is asked for, and kept by nobody: a
    copy of all columns would take as much memory as the frame."""

    def __init__(self, frame: pd.DataFrame, is_wanted: np.ndarray) -> None:
        self._frame = frame
        self._is_wanted = is_wanted
        self._count = int(np.count_nonzero(is_wanted))

    def __len__(self) -> int:
        return self._count

    @overload
    def __getitem__(self, wanted: str) -> pd.Series: ...

    @overload
    def __getitem__(self, wanted: np.ndarray | pd.Series) -> pd.DataFrame: ...

    def __getitem__(self, wanted: str | np.ndarray | pd.Series) -> pd.Series | pd.DataFrame:
        """A column, or some of these rows."""
        if isinstance(wanted, str):
            return self._frame[wanted][self._is_wanted]
        chosen = self._is_wanted.copy()
        chosen[chosen] = np.asarray(wanted)
        return self._frame[chosen]
