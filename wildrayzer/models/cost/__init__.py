"""What a network costs: operations, memory, parameters."""
