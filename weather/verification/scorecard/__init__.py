"""What a person sees of a verification: console, files, figures, and one page."""
