"""Align the base model to the trusted reward."""
