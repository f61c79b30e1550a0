"""The loop several times over: other seeds, other settings."""
