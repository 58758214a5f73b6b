"""How studies and trials are kept: MLflow is the system of record."""
