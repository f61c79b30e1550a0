"""What can be seen in a fill: how like a photograph it is, and ways of spoiling one."""
