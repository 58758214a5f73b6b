"""The builder of the starter knowledge base: real datasets, one common design per family, real trials."""
