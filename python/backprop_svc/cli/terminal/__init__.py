"""What the terminal shows: results, mistakes."""
