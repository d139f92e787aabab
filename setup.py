"""What Beam ships to remote workers; everything is declared in pyproject.toml."""

from setuptools import setup

setup()
