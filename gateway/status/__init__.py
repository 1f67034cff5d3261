"""Status reads of polling clients, with few requests to Prefect."""
