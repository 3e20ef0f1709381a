"""The HTTP API of the service, on a thread of its own: FastAPI and uvicorn, over the catalog and the actors."""
