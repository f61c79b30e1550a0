"""Rank agreement and bootstrap intervals."""
