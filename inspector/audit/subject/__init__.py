"""What an audit looks at: entries, headers and documents, from here or from the Hub, and the models they make."""

from __future__ import annotations
