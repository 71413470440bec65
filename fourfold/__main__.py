"""``python -m fourfold``: the same as the command ``fourfold``."""

import sys

from fourfold.command import main

sys.exit(main())
