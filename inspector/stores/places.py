"""Where this machine's stores lie by default, and what the environment says instead. Nothing is looked up here."""

from __future__ import annotations

import os

from inspector.sources.cache import hub_cache_folder

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from inspector.stores.records import Store


def ollama_folder(environ: Mapping[str, str]) -> str:
    """Ollama's models (envconfig/config.go, Models)."""
    return os.path.expanduser(environ.get("OLLAMA_MODELS") or os.path.join("~", ".ollama", "models"))


def known_places(environ: Mapping[str, str]) -> list[tuple[Store, str]]:
    """The stores that programs keep for this user, whether or not they are there, in the order they are listed in.

    Ollama as a service of Linux, LM Studio (~/.lmstudio since 0.3.6), llama.cpp (common/common.cpp,
    fs_get_cache_directory; common/hf-cache.cpp since it shares the Hub's cache), Docker Model Runner.
    """
    cache = environ.get("XDG_CACHE_HOME") or os.path.join("~", ".cache")
    llama = environ.get("LLAMA_CACHE") or os.path.join(cache, "llama.cpp")
    places: list[tuple[Store, str]] = [
        ("ollama", ollama_folder(environ)),
        ("ollama", "/usr/share/ollama/.ollama/models"),
        ("lm studio", os.path.join("~", ".lmstudio", "models")),
        ("lm studio", os.path.join(cache, "lm-studio", "models")),
        ("llama.cpp cache", llama),
        ("llama.cpp cache", os.path.join("~", "Library", "Caches", "llama.cpp")),
        ("hub cache", hub_cache_folder(environ)),
        ("docker", os.path.join("~", ".docker", "models")),
    ]
    return [(store, os.path.expanduser(path)) for store, path in places]
