"""From knowledge and observations to the next configuration."""
