"""What a chip does to events in every run, and the noise that it draws for it, as compiled passes."""
