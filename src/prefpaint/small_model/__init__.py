"""The embedded base model: Stable Diffusion's classes at a size that two CPU cores can train, and its pretraining."""
