"""What can be made, by whom, at what price."""
