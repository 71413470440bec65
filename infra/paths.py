"""Where this checkout lies."""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
"""The project's folder: Dockerfile, docker-compose.yml and the packages lie here."""
