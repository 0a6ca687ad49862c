"""What we know, ready before it is asked: the store keeps it, selection chooses from it, render shows it."""
