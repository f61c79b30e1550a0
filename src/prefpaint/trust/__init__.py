"""The error bound on the reward, its width, and the weight γ that alignment derives from it."""
