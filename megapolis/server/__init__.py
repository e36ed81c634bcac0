"""How the service is served: uvicorn, its HTTP protocol, workers and the shutdown."""
