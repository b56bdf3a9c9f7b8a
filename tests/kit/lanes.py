"""Lanes in tests: what is left out where chance chooses them (CELLO_DISPATCH=random)."""

from __future__ import annotations

import os

import pytest

IS_RANDOM = os.environ.get("CELLO_DISPATCH") == "random"

NOT_BY_CHANCE = pytest.mark.skipif(IS_RANDOM, reason="chance chooses the lane that this test is about")
