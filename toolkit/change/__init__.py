"""Changes over files: plans are made here, and carried out."""
