"""Kinds of inpainting checkpoints: what each does in its own way."""
