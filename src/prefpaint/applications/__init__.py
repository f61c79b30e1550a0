"""What an aligned model is good for."""
