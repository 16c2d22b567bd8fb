"""Figures of many settings at once, for pages that must say what `inspector memory` says: every one is the engine's."""
