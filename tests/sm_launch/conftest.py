"""Fixtures of sm_launch's tests."""

from served import model_dir

__all__ = ["model_dir"]
