"""Runs that an orchestrator elsewhere executes: it is asked by HTTP, and answers by callbacks or when it is polled."""
