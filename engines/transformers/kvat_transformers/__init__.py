"""kvat's worker for Hugging Face Transformers: the protocol of docs/protocol.md over PyTorch models."""
