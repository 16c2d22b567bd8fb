"""Where models lie on a machine: folders of any depth, and the stores of the programs that download them."""

from __future__ import annotations
