"""Results → text, JSON, CSV, SARIF and one HTML page; nothing is computed here."""
