"""How far to believe the reward: V, widths, γ."""
