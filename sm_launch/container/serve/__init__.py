"""Serve a MONAI Bundle's inference config over HTTP, as Amazon SageMaker asks of a container.

``GET /ping``, ``POST /invocations`` and ``GET /execution-parameters`` on port 8080; real-time, serverless and
asynchronous endpoints and batch transform all speak these three (docs, "Custom Inference Code with Hosting Services"
and "Custom Inference Code with Batch Transform"). The folder is copied into an image as a package of its own, so it
imports nothing of the rest of sm_launch.
"""
