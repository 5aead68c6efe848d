"""Take any MONAI Bundle to Amazon SageMaker: planned before paid, and run on this machine first."""
