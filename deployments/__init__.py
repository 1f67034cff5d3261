"""Every way in and every place to run: blocks, registration, the worker, the local stack."""
