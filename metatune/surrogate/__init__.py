"""What earlier tasks teach about configurations: the LightGBM meta-surrogate and one model per task."""
