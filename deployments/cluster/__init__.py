"""Several machines: the local stack on two Prefect servers, one process of background services,
Redis, and two workers.

``make up-cluster`` starts it here. The files for containers are in ``deployments/docker``,
``deployments/kubernetes`` and ``deployments/ecs``.
"""
