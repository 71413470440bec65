"""The command ``fourfold``. What pip installs has all else of the project in the folder ``project`` of this package."""
