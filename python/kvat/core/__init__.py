"""Workloads, requests, runs and results."""
