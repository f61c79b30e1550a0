"""What one sees in a fill: how like a photograph it is, and ways of spoiling one."""
