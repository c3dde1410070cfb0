"""What parts of the program cost: time, memory and rounding."""
