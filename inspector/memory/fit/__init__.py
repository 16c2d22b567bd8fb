"""What would fit: choices over the engines' own estimates, best first."""
