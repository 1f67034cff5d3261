"""Imports every module of the packages; a missing or changed name of a dependency ends it."""

import importlib
import pkgutil
import sys

sys.path.insert(0, "")
for package in ("pro_video", "tasks", "flows", "gateway", "deployments", "sandbox"):
    path = importlib.import_module(package).__path__
    for module in pkgutil.walk_packages(path, f"{package}."):
        importlib.import_module(module.name)
