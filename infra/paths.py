"""Where this checkout lies, and how its commands are called."""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
"""The project's folder: Dockerfile, docker-compose.yml and the packages lie here."""

INFRA = ".venv/bin/python -m infra"
"""What a message tells the user to type, in this folder."""
